"""The sections of `params.yaml` as types; `radlib.study` puts them together."""
