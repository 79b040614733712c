"""The README.md beside an exported model: what it takes and returns, and ten lines that use it."""

from collections.abc import Sequence

from carvana.competition import HEIGHT, WIDTH
from carvana.data.photos import jpeg_scale
from carvana.prediction.export import FILES

_PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "torchscript": "torch"}

_IMPORTS = {
    "onnx": "import cv2\nimport numpy as np\nimport onnxruntime",
    "openvino": "import cv2\nimport numpy as np\nimport openvino",
    "torchscript": "import cv2\nimport numpy as np\nimport torch",
}

_LOADING = {
    "onnx": 'model = onnxruntime.InferenceSession("model.onnx")',
    "openvino": 'model = openvino.compile_model("model.xml", "CPU")',
    "torchscript": 'model = torch.jit.load("model.pt", "cpu")',
}

_CALL = {
    "onnx": 'model.run(["logits"], {"photos": small[None]})[0][0]',
    "openvino": "model(small[None])[0][0]",
    "torchscript": "model(torch.from_numpy(small[None]))[0].numpy()",
}

_TEXT = """# {file}: where the car is in a photo

| | name | type | shape | values |
|---|---|---|---|---|
| input | `photos` | uint8 | [n, {height}, {width}, 3], any n | RGB, 0–255 |
| output | `logits` | float32 | [n, {height}, {width}] | above {level} is car; the sigmoid is its probability |

For a mask at the photo's size, enlarge the logits bilinearly, then compare them with {level}. To compare first and
enlarge the mask would cost 0.2 to 0.5 % of Dice. From one of Kaggle's photos to the mask that the pipeline submits:

```console
$ pip install {package} numpy opencv-python-headless
```

```python
{imports}

{loading}
photo = cv2.cvtColor(cv2.imread("car.jpg", cv2.{decoding}), cv2.COLOR_BGR2RGB)
to_photo = np.array([[{across:.10g}, 0, {right:.10g}], [0, {down:.10g}, {below:.10g}]])  # a pixel's place in the photo
how = {{"flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, "borderMode": cv2.BORDER_REPLICATE}}
small = cv2.warpAffine(photo, to_photo, ({width}, {height}), **how)
logits = {call}
mask = cv2.resize(logits, ({full_width}, {full_height}), interpolation=cv2.INTER_LINEAR) > {level}
cv2.imwrite("mask.png", mask * np.uint8(255))
```

These are the very pixels that the network was trained on{reduced}. For a photo of
another size, decode it in full, pad it to the proportions of {full_width}×{full_height}, and resize it by area:
`cv2.resize(photo, ({width}, {height}), interpolation=cv2.INTER_AREA)`.

{facts}
"""


def render(kind: str, size: tuple[int, int], level: float, facts: Sequence[str]) -> str:
    """Returns the text of README.md for a format of `export.FILES`.

    `size` is the network's (height, width), a pixel is car if its logit exceeds `level`, and `facts` are sentences.
    """
    scale = jpeg_scale(size)
    across, down = WIDTH / scale / size[1], HEIGHT / scale / size[0]
    return _TEXT.format(
        file=FILES[kind],
        height=size[0],
        width=size[1],
        full_height=HEIGHT,
        full_width=WIDTH,
        level=f"{level:.4g}",
        package=_PACKAGES[kind],
        imports=_IMPORTS[kind],
        loading=_LOADING[kind],
        decoding="IMREAD_COLOR" if scale == 1 else f"IMREAD_REDUCED_COLOR_{scale}",
        reduced="" if scale == 1 else f", from a JPEG decoded at 1/{scale} of its size",
        # As in `decode_photo`: pixel centres lie at half.
        across=across,
        right=across / 2 - 0.5,
        down=down,
        below=down / 2 - 0.5,
        call=_CALL[kind],
        facts="\n".join(f"- {fact}" for fact in facts),
    )
