"""Clients that others wrote, unchanged, against a running service."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import InferenceClient

from support.serving import Process, saved, serving
from tailtune.predict import Prediction, Predictor

TEXTS = ["claim your prize now", "naïve 🙂", "lunch at noon?"]


@pytest.fixture(scope="module")
def bundle(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny_llama, tmp_path_factory.mktemp("clients") / "spam-filter")


@pytest.fixture(scope="module")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serving(bundle, log=tmp_path_factory.mktemp("log") / "log") as server:
        yield server


@pytest.fixture(scope="module")
def expected(bundle: Path) -> list[Prediction]:
    return Predictor.load(bundle).predict(TEXTS)


@pytest.mark.parametrize("path", ["", "/", "/predict"])
def test_huggingface_hub(server: Process, expected: list[Prediction], path: str) -> None:
    """Told the address of the service, or of its route; it asks for the task, not for TEI."""
    client = InferenceClient(model=f"{server.url}{path}")
    for text, each in zip(TEXTS, expected, strict=True):
        found = client.text_classification(text)
        assert {one.label: one.score for one in found} == pytest.approx(each.probabilities, abs=1e-6)
        assert found[0].label == each.label
    assert len(client.text_classification("ok", top_k=1, function_to_apply="softmax")) == 1


def test_tritonclient(server: Process, expected: list[Prediction]) -> None:
    """As it is by default, tensors as bytes both ways; and with JSON, both or one of them."""
    from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
    from tritonclient.utils import InferenceServerException

    rows = np.array([list(each.probabilities.values()) for each in expected])
    texts = np.array([text.encode() for text in TEXTS], dtype=np.object_)
    with InferenceServerClient(server.url.removeprefix("http://")) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("spam-filter")
        assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
        (version,) = client.get_model_metadata("spam-filter")["versions"]
        for as_bytes in (True, False):
            asked = InferInput("text", [len(TEXTS)], "BYTES").set_data_from_numpy(texts, binary_data=as_bytes)
            outputs = [InferRequestedOutput("probabilities", binary_data=as_bytes), InferRequestedOutput("label")]
            for wanted in (None, outputs, outputs[:1]):
                found = client.infer("spam-filter", [asked], model_version=version, outputs=wanted, request_id="7")
                assert found.get_response()["id"] == "7"
                assert np.abs(found.as_numpy("probabilities") - rows).max() < 1e-6
                if wanted is None or len(wanted) == 2:
                    assert [label.decode() for label in found.as_numpy("label")] == [each.label for each in expected]
        with pytest.raises(InferenceServerException, match="no model of that name; there is 'spam-filter'"):
            client.infer("other", [asked])
        with pytest.raises(InferenceServerException, match="compressed"):
            client.infer("spam-filter", [asked], request_compression_algorithm="gzip")


# As in the README.
CURL = """
curl -s localhost:8000/v1/classify -H 'content-type: application/json' -d '{"texts": ["claim your prize now"]}'
curl -s localhost:8000/predict -H 'content-type: application/json' -d '{"inputs": "claim your prize now"}'
curl -s localhost:8000/classify -H 'content-type: application/json' -d '{"input": ["claim your prize now"]}'
curl -s localhost:8000/v2/models/spam-filter/infer -H 'content-type: application/json' \
  -d '{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["claim your prize now"]}]}'
curl -s localhost:8000/invocations -H 'content-type: text/plain' -d 'claim your prize now'
"""


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is absent")
def test_curl(server: Process, expected: list[Prediction]) -> None:
    """Each line of the README gives the same probability of its label."""
    label, share = expected[0].label, expected[0].confidence
    for line in CURL.replace("\\\n", "").strip().splitlines():
        command = line.replace("localhost:8000", server.url)
        said = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout
        numbers = [float(found) for found in re.findall(r"0\.\d+", said)]
        assert json.loads(said), line
        assert label in said, line
        assert min(abs(number - share) for number in numbers) < 1e-6, line
