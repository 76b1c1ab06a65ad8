# Prints status and body of the result: follow.sh URL BODY, with the login header in $AUTH.
set -eu
json='Content-Type: application/json'
location=$(curl -s -o /dev/null -D - -H "$AUTH" -H "$json" -d "$2" "$1" | tr -d '\r' | sed -n 's/^Location: //p')
while status=$(curl -s -o body -D head -w '%{http_code}' -H "$AUTH" "$location"); [ "$status" = 202 ]; do
  sleep "$(tr -d '\r' < head | sed -n 's/^Retry-After: //p')"
done
echo "$status $(cat body)"
