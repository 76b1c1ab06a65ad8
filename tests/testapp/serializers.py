from rest_framework import serializers

from .models import Note


class NoteSerializer(serializers.ModelSerializer):
    class Meta:
        model = Note
        fields = ("id", "slug", "title", "price", "shelf", "owner", "created_at")
        read_only_fields = ("owner", "shelf")


class LinkedNoteSerializer(serializers.HyperlinkedModelSerializer):
    url = serializers.HyperlinkedIdentityField(view_name="linked-note-detail", lookup_field="slug")

    class Meta:
        model = Note
        fields = ("url", "slug", "title", "price")


class SumSerializer(serializers.Serializer):
    x = serializers.IntegerField(min_value=0)
    y = serializers.IntegerField(min_value=0)
