import pickle

import huggingface_hub
import pytest
import torch
from projects import read_network
from safetensors.torch import save_file
from torch import nn

from carvana.base.errors import UserError
from carvana.devices import distributed
from carvana.networks import checkpoint, models, zoo
from carvana.networks.weights import weights_file

ENCODER = "tu-mobilenetv3_small_050"


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder": "resnet18"},
        {"arch": "unetplusplus"},
        {"arch": "fpn", "encoder": "timm-tf_efficientnet_lite0"},
        {"arch": "segformer", "encoder": "mit_b0"},
        {"arch": "linknet"},
        {"arch": "upernet", "decoder_channels": [32]},
    ],
)
def test_a_model_file_builds_its_own_architecture_with_a_logit_for_every_pixel(tmp_path, changes):
    torch.manual_seed(0)
    network = read_network(**{"encoder": ENCODER} | changes)
    model = models.build(network).eval()
    checkpoint.save(tmp_path / "fold-0.safetensors", model, network, (64, 128))
    photos = torch.randint(0, 256, (1, 64, 128, 3), dtype=torch.uint8)
    with torch.inference_mode():
        logits = model(photos)
        assert torch.equal(checkpoint.load(tmp_path / "fold-0.safetensors").model(photos), logits)
    assert (logits.shape, logits.dtype) == ((1, 64, 128), torch.float32)


def test_other_decoders_have_one_width():
    narrow, wide = (read_network(arch="upernet", encoder=ENCODER, decoder_channels=each) for each in ([32], "auto"))
    assert models.count_parameters(models.build(narrow)) < models.count_parameters(models.build(wide))


@pytest.mark.parametrize(
    ("changes", "widths"),
    [
        ({"decoder_channels": [40, 32, 24, 16, 8]}, [40, 32, 24, 16, 8]),
        ({"decoder_channels": [40, 32, 24], "patch": 4}, [40, 32, 24]),
        ({"patch": 4}, [256, 128, 64]),
    ],
)
def test_a_unets_decoder_has_the_widths_and_a_logit_for_every_pixel(changes, widths):
    torch.manual_seed(0)
    model = models.build(read_network(encoder=ENCODER, **changes)).eval()
    assert [block.conv2[0].out_channels for block in model.network.decoder.blocks] == widths
    logits = model(torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8))
    assert logits.shape == (1, 64, 96)
    assert logits[0, 32:36, 32:36].unique().numel() == 16


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"decoder_channels": [64, 32]}, r"train\.decoder_channels: unet takes 5, not 2"),
        ({"decoder_channels": [8] * 5, "patch": 2}, r"decoder_channels: unet with train\.patch: 2 takes 4, not 5"),
        ({"decoder_channels": [8] * 5, "arch": "pan"}, r"train\.decoder_channels: pan takes 1, not 5"),
        ({"decoder_channels": [8], "arch": "linknet"}, r"train\.decoder_channels: linknet has no such widths; .* auto"),
        ({"arch": "unetplusplu"}, r"train\.arch: unetplusplu .* did you mean unetplusplus"),
        ({"arch": "unett", "encoder": "none"}, r"train\.arch: unett needs a train\.encoder, .*; did you mean unet"),
        ({"encoder": "resnet43"}, r"train\.encoder: resnet43 .* did you mean .*resnet34"),
        ({"encoder": "convnext_tiny"}, r"train\.encoder: convnext_tiny .* did you mean .*tu-convnext_tiny"),
        ({"encoder": "none_"}, r"train\.encoder: none_ .* did you mean none"),
        ({"encoder": "???"}, r"train\.encoder: \?\?\? is unknown; there are none, .* more"),
    ],
)
def test_a_wrong_name_lists_near_matches_and_widths_that_do_not_fit_say_how_many_do(changes, complaint):
    with pytest.raises(UserError, match=complaint):
        models.build(read_network(**{"encoder": ENCODER} | changes))


def test_a_size_that_the_encoder_cannot_take_is_named():
    with pytest.raises(UserError, match=r"train\.size: linknet with resnet18 cannot take 48×64"):
        models.require_size(read_network(arch="linknet", encoder="resnet18"), (48, 64))


@pytest.mark.parametrize("encoder", ["tu-hrnet_w18_small", "densenet121", "tu-vit_tiny_patch16_224"])
def test_an_encoder_that_does_not_go_with_the_network_is_named_whatever_smp_raises(encoder):
    complaint = rf"cannot build deeplabv3plus with {encoder} and weights none \(.+\); name others in params\.yaml"
    with pytest.raises(UserError, match=complaint):
        models.build(read_network(arch="deeplabv3plus", encoder=encoder))


@pytest.mark.parametrize(("arch", "unreached"), [("pspnet", {"encoder.layer3", "encoder.layer4"}), ("fpn", set())])
def test_parameters_that_no_gradient_reaches_are_found(arch, unreached):
    model = models.build(read_network(arch=arch, encoder="resnet18")).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    names = {id(value): name for name, value in model.network.named_parameters()}
    found = distributed.unreached(model, (64, 64))
    assert {".".join(names[id(each)].split(".")[:2]) for each in found} == unreached
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(each.grad is None for each in model.parameters())


def test_a_file_of_weights_fills_the_encoder_by_name_or_in_order(tmp_path):
    network = read_network(encoder=ENCODER)
    torch.manual_seed(0)
    weights = models.build(network).network.encoder.state_dict()
    floats = {name: value.contiguous() for name, value in weights.items() if value.is_floating_point()}
    save_file(floats, tmp_path / "named.safetensors")
    renamed = {f"other.{number}": value for number, value in enumerate(floats.values())}
    torch.save(renamed | {"head": torch.zeros(7)}, tmp_path / "in_order.pth")
    for name in ("named.safetensors", "in_order.pth"):
        torch.manual_seed(1)
        filled = models.build(network, str(tmp_path / name)).network.encoder.state_dict()
        assert all(torch.equal(filled[key], value) for key, value in floats.items())


def test_files_that_do_not_fit_are_refused_and_run_no_code(tmp_path, capsys):
    class Malice:
        def __reduce__(self):
            return print, ("run",)

    torch.save(nn.Conv2d(3, 4, 5).state_dict(), tmp_path / "larger.pth")
    torch.save({"a": torch.zeros(3)}, tmp_path / "short.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "code.pth").write_bytes(pickle.dumps({"a": Malice()}))
    (tmp_path / "text.safetensors").write_text("no weights", encoding="ascii")
    for name, complaint in (
        ("larger.pth", "another encoder: the shapes differ at weight"),
        ("short.pth", "another encoder: it has 1 arrays, not 2"),
        ("list.pth", "not a state dict"),
        ("code.pth", "does not hold weights"),
        ("text.safetensors", "does not hold weights"),
        ("imagnet", "neither 'none' nor 'imagenet' nor a file"),
    ):
        with pytest.raises(UserError, match=complaint):
            zoo.load_encoder(nn.Conv2d(3, 4, 3), tmp_path / name)
    assert not capsys.readouterr().out


def test_imagenet_weights_offline_say_what_to_do(monkeypatch):
    # The hub's own switch, so that nothing waits for a network.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", "/nonexistent")
    complaint = r"ImageNet weights of resnet18.* go online once, or name a file in train\.encoder_weights"
    with pytest.raises(UserError, match=complaint):
        models.build(read_network(encoder="resnet18"), "imagenet")


def test_a_socks_proxy_says_what_it_takes(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    huggingface_hub.close_session()
    with pytest.raises(UserError, match=r"could not be fetched \(Using SOCKS proxy, but the 'socksio' package is not"):
        models.build(read_network(encoder="resnet18"), "imagenet")


def test_imagenet_weights_come_from_the_package_that_requirements_name(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", "/nonexistent")
    for encoder in ("tu-tf_efficientnet_lite0", "tu-tf_efficientnet_lite2"):
        built = models.build(read_network(arch="unet", encoder=encoder), "imagenet").network.encoder
        stored = torch.load(weights_file(encoder, "imagenet"), weights_only=True)
        assert torch.equal(next(built.parameters()), next(iter(stored.values())))
    assert weights_file("resnet18", "imagenet") is None, "on the hub"
    assert weights_file(encoder, "none") is None


def test_torch_reads_no_damaged_weights(tmp_path):
    """torch.load verifies no CRC: a flipped bit would change a weight, or read beyond the file."""
    encoder = nn.Conv2d(3, 4, 3)
    torch.save(encoder.state_dict(), tmp_path / "encoder.pth")
    whole = (tmp_path / "encoder.pth").read_bytes()
    zoo.load_encoder(encoder, tmp_path / "encoder.pth")
    weights = whole.index(encoder.weight.detach().numpy().tobytes())
    for place in range(weights, weights + 100, 9):
        (tmp_path / "encoder.pth").write_bytes(whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :])
        with pytest.raises(UserError, match=r"encoder\.pth does not hold weights .* is damaged"):
            zoo.load_encoder(encoder, tmp_path / "encoder.pth")


@pytest.mark.parametrize("trains", [True, False])
def test_a_cpu_trains_depthwise_convolutions_and_no_others_in_float32(trains):
    torch.manual_seed(0)
    model = models.build(read_network(arch="unet", encoder=ENCODER, patch=1)).train(trains)
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)]
    assert len({layer.groups > 1 for layer in layers}) == 2
    for layer in layers:
        features = torch.randn(2, layer.in_channels, 9, 9).bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            output = layer(features)
        exact = layer(features.float()).bfloat16()
        gradients = [torch.autograd.grad(each.sum(), layer.weight)[0] for each in (output, exact)]
        assert output.dtype == torch.bfloat16
        if layer.groups > 1:
            assert torch.equal(output, exact) >= trains
            assert torch.equal(*gradients) == trains
        else:
            assert not torch.equal(*gradients)


def test_on_gpus_all_batch_norm_is_shared_and_timms_keeps_its_activation():
    model = nn.Sequential(zoo.timm.layers.BatchNormAct2d(5, act_layer=nn.SiLU), nn.BatchNorm2d(5))
    zoo.share_batch_norm(model)
    assert isinstance(model[0].act, nn.SiLU)
    assert all(isinstance(each, nn.SyncBatchNorm) for each in model)
