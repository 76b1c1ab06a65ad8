# Prints status and body of the result: follow.sh URL BODY, with the login header in $AUTH.
set -eu
ask() { : > body; curl -sS -o body -D head -w '%{http_code}' -H "$AUTH" "$@"; }
header() { tr -d '\r' < head | awk -v name="$1:" 'tolower($1) == name { print $2 }'; }
status=$(ask -H 'Content-Type: application/json' -d "$2" "$1")
location=$(header location)
while case $status in 202) ;; 429 | 503) [ -n "$location" ] ;; *) false ;; esac; do
  sleep "$(header retry-after)"
  status=$(ask "${location:?}")
done
echo "$status $(cat body)"
