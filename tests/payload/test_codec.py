"""Whatever a payload class holds comes back as it was, by XML and by JSON, in canonical form."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from lxml import etree

from tests.payload.generated import payloads, same
from xml_pipeline import hardened
from xml_pipeline.payload import codec_of

_MANY = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@_MANY
@given(payloads())
def test_decode_of_encode_is_the_value(value: Any) -> None:
    codec = codec_of(type(value))
    assert same(codec.decode_bytes(codec.encode(value)), value)


@_MANY
@given(payloads())
def test_the_encoding_is_exclusive_c14n_and_valid(value: Any) -> None:
    codec = codec_of(type(value))
    data = codec.encode(value)
    element = hardened.parse(data)
    assert etree.tostring(element, method="c14n", exclusive=True) == data
    schema = etree.XMLSchema(hardened.parse(codec.xsd.encode()))
    schema.assertValid(element)


@_MANY
@given(payloads())
def test_from_json_of_to_json_is_the_value(value: Any) -> None:
    codec = codec_of(type(value))
    text = json.dumps(codec.to_json(value), allow_nan=False)
    assert same(codec.from_json(json.loads(text)), value)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(payloads())
def test_the_example_is_valid_and_its_indentation_means_nothing(value: Any) -> None:
    codec = codec_of(type(value))
    example = codec.decode_bytes(codec.example.encode())
    assert same(codec.decode_bytes(codec.encode(example)), example)
