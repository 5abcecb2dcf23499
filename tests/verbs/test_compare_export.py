"""Two identities side by side, and directions that go out to other tools and come in from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.schemas import validate
from tests.verbs.tiny_map import SHORT, STRENGTH, Mapped, save_model, tiny_plan

from homing.errors import IdentityError, InputError
from homing.identity import Identity, Section
from homing.identity.container import LAYER_CONVENTION
from homing.persona.axis import Axis
from homing.testing.tiny import planted_model
from homing.verbs.compare import _figures, compare, compare_identities
from homing.verbs.export import export_gguf, import_foreign
from homing.verbs.map import run_map


def axis_of(identity: Identity) -> Axis:
    section = identity.section("persona")
    return Axis.from_json(section.data["axis"], section.arrays)


def moved(identity: Identity, by: float) -> Identity:
    """The same identity with home moved along its own axis, by so many home distances at every layer."""
    section, axis = identity.section("persona"), axis_of(identity)
    home = section.arrays["home"] + by * np.asarray(axis.unit, np.float32)[:, None] * axis.vectors
    roles = section.arrays["roles"]
    made = Axis.between(home, roles, axis.layers, read_layer=axis.read_layer)
    data = {**section.data, "axis": made.to_json()}
    return identity.with_section(
        "persona", Section(1, data, {**section.arrays, "home": home.astype(np.float32), "axis": made.vectors})
    )


def test_an_identity_is_equivalent_to_itself(mapped: Mapped) -> None:
    found = compare(mapped.home, mapped.home)
    validate("compare", found)
    assert found["verdict"].startswith("equivalent")
    assert found["estimates"]["home_shift"]["value"] == pytest.approx(0.0, abs=1e-6)
    assert found["estimates"]["cosine"]["value"] == pytest.approx(1.0, abs=1e-6)
    assert found["same_model"]
    assert not any(r["beyond_noise"] for r in found["roles_moved"])


@pytest.mark.parametrize("by", [-0.5, 0.4])
def test_a_planted_shift_of_home_is_found(mapped: Mapped, tmp_path: Path, by: float) -> None:
    other = moved(mapped.identity, by).save(tmp_path / "moved")
    found = compare(mapped.home, other)
    validate("compare", found)
    shift = found["estimates"]["home_shift"]
    assert found["verdict"].startswith("different")
    assert shift["low"] <= by <= shift["high"]
    assert shift["value"] == pytest.approx(by, abs=0.02)


def test_a_turned_axis_is_said_to_have_turned(mapped: Mapped) -> None:
    section, axis = mapped.identity.section("persona"), axis_of(mapped.identity)
    rng = np.random.default_rng(0)
    aside = rng.standard_normal(axis.vectors.shape).astype(np.float32)
    aside -= np.einsum("lh,lh->l", aside, axis.vectors)[:, None] * axis.vectors
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    home = section.arrays["home"] + np.asarray(axis.unit, np.float32)[:, None] * aside  # 45 degrees
    made = Axis.between(home, section.arrays["roles"], axis.layers, read_layer=axis.read_layer)
    other = mapped.identity.with_section(
        "persona",
        Section(1, {**section.data, "axis": made.to_json()}, {**section.arrays, "home": home, "axis": made.vectors}),
    )
    finding, _ = compare_identities(mapped.identity, other)
    assert finding.estimates["angle"].value == pytest.approx(45, abs=3)
    assert finding.verdict.startswith("different")
    assert "turned by more than its noise" in finding.verdict
    assert finding.estimates["cosine"].high < finding.estimates["cosine_ceiling"].low


def test_a_role_that_moved_is_named(mapped: Mapped) -> None:
    section, axis = mapped.identity.section("persona"), axis_of(mapped.identity)
    roles = section.arrays["roles"].copy()
    roles[5] += 0.8 * np.asarray(axis.unit, np.float32)[:, None] * axis.vectors
    other = mapped.identity.with_section("persona", Section(1, section.data, {**section.arrays, "roles": roles}))
    _, found = compare_identities(mapped.identity, other)
    assert found[0]["role"] == section.data["roles"][5]["id"]
    assert found[0]["beyond_noise"]
    assert found[0]["shift"]["value"] > 0.5


def test_other_architectures_are_refused(mapped: Mapped) -> None:
    other = Identity({**mapped.identity.model, "layers": 6}, mapped.identity.sections)
    with pytest.raises(IdentityError, match="only checkpoints of one architecture compare"):
        compare_identities(mapped.identity, other)
    section = mapped.identity.section("persona")
    renamed = [{**r, "id": f"other-{r['id']}"} for r in section.data["roles"]]
    strange = mapped.identity.with_section("persona", Section(1, {**section.data, "roles": renamed}, section.arrays))
    with pytest.raises(IdentityError, match="share 0 roles"):
        compare_identities(mapped.identity, strange)


def tuned(identity: Identity, name: str = "tuned", **model: Any) -> Identity:
    """The identity of another checkpoint: another fingerprint, and whatever else is said of its model."""
    return Identity({**identity.model, "name": name, "fingerprint": "ab" * 32, **model}, identity.sections)


def test_another_checkpoint_at_the_same_place(mapped: Mapped, tmp_path: Path) -> None:
    found = compare(mapped.home, tuned(mapped.identity).save(tmp_path / "tuned"))
    validate("compare", found)
    assert found["same_model"] is False
    assert found["a"] != found["b"]
    assert found["verdict"].startswith("equivalent")
    assert found["estimates"]["cosine"]["value"] == pytest.approx(1.0, abs=1e-6)


def test_another_checkpoint_whose_home_moved(mapped: Mapped, tmp_path: Path) -> None:
    found = compare(mapped.home, tuned(moved(mapped.identity, 0.4)).save(tmp_path / "tuned"))
    validate("compare", found)
    assert found["same_model"] is False
    assert found["verdict"].startswith("different")
    assert found["estimates"]["home_shift"]["low"] > 0.1


def test_a_second_model_that_was_mapped(mapped: Mapped, tmp_path: Path) -> None:
    """Other weights of the same shapes, mapped by the same plan: nothing is edited by hand."""
    planted = planted_model(strength=STRENGTH, seed=7)
    model = save_model(planted, tmp_path / "model")
    run_map(tiny_plan(tmp_path / "home", model=str(model), preset=SHORT))
    found = compare(mapped.home, tmp_path / "home")
    validate("compare", found)
    assert found["same_model"] is False
    assert found["verdict"].startswith("different")  # its persona was planted along a direction of its own
    assert "turned by more than its noise" in found["verdict"]
    between = float(planted.axis @ mapped.planted.axis)
    assert found["estimates"]["cosine"]["value"] == pytest.approx(between, abs=0.25)


def narrow(identity: Identity, hidden: int) -> Identity:
    """The identity of a model of another width, whole in itself."""
    section, axis = identity.section("persona"), axis_of(identity)
    home, roles = (np.ascontiguousarray(section.arrays[k][..., :hidden]) for k in ("home", "roles"))
    made = Axis.between(home, roles, axis.layers, read_layer=axis.read_layer)
    data = {**section.data, "axis": made.to_json()}
    arrays = {**section.arrays, "home": home, "roles": roles, "axis": made.vectors}
    return tuned(identity.with_section("persona", Section(1, data, arrays)), hidden=hidden)


def test_a_model_of_another_width_is_refused(mapped: Mapped, tmp_path: Path) -> None:
    other = narrow(mapped.identity, 32).save(tmp_path / "narrow")
    assert compare(other, other)["same_model"]  # sound, so that only the pair is refused
    for a, b, says in ((mapped.home, other, "64 and 32 hidden"), (other, mapped.home, "32 and 64 hidden")):
        with pytest.raises(IdentityError, match=f"have {says}; only checkpoints of one architecture compare") as e:
            compare(a, b)
        assert "\n" not in str(e.value)


def test_a_control_vector_comes_back_with_its_layers_and_sign(mapped: Mapped, tmp_path: Path) -> None:
    from gguf import GGUFReader

    axis = axis_of(mapped.identity)
    out = export_gguf(mapped.home, tmp_path / "deep" / "axis.gguf", layers=(1, 3))
    back = import_foreign(out)
    assert back.layers == (1, 3)
    assert back.sign == "towards home"
    for row, layer in zip(back.vectors, back.layers, strict=True):
        at = axis.layers.index(layer)
        assert np.allclose(row, axis.vectors[at] * axis.unit[at], rtol=1e-6)
        assert float(row @ mapped.planted.axis) > 0  # adding it moves towards the planted home
    reader: Any = GGUFReader(str(out))
    text = {
        k: bytes(f.parts[f.data[0]]).decode()
        for k, f in reader.fields.items()
        if k in ("homing.layer_convention", "homing.sign", "homing.identity", "general.architecture")
    }
    assert text == {
        "homing.layer_convention": LAYER_CONVENTION,
        "homing.sign": "towards home",
        "homing.identity": mapped.identity.digest,
        "general.architecture": "controlvector",
    }


def test_thresholds_travel_with_the_directions(mapped: Mapped, tmp_path: Path) -> None:
    """Read as docs/gguf.md says, by the package gguf alone, they are the cap and the marks of the identity."""
    from gguf import GGUFReader

    reader: Any = GGUFReader(str(export_gguf(mapped.home, tmp_path / "axis.gguf")))
    told = {k: f.contents() for k, f in reader.fields.items() if k.startswith("homing.")}
    cap, axis = mapped.identity.section("cap").data["cap"], axis_of(mapped.identity)
    assert told["homing.cap.kind"] == cap["kind"] == "floor"
    assert told["homing.cap.layers"] == told["homing.layers"] == list(cap["layers"])
    assert np.allclose(told["homing.cap.thresholds"], cap["thresholds"])
    at = [axis.layers.index(i) for i in cap["layers"]]
    assert np.allclose(told["homing.norm"], [axis.unit[i] for i in at])
    assert np.allclose(told["homing.zero"], [axis.zero[i] for i in at])
    assert (told["homing.engine"], told["homing.dtype"]) == ("torch", "float32")
    assert told["homing.model_fingerprint"] == mapped.identity.model["fingerprint"]


def test_adding_an_exported_vector_moves_the_stream_by_one_home_distance(mapped: Mapped, tmp_path: Path) -> None:
    """The convention is checked on the model itself: what is written for layer i is added to the output of layer i."""
    import torch

    axis = axis_of(mapped.identity)
    vector = import_foreign(export_gguf(mapped.home, tmp_path / "a.gguf", layers=(2,))).vectors[0]
    model, tokenizer = mapped.planted.model, mapped.planted.tokenizer
    ids = torch.tensor([tokenizer("<|im_start|>user\nhello<|im_end|>\n")["input_ids"]])

    def position(extra: np.ndarray | None) -> float:
        block = model.model.layers[2]

        def add(_: Any, __: Any, out: Any) -> Any:
            first = out[0] if isinstance(out, tuple) else out
            return first + torch.from_numpy(extra) if extra is not None else out

        handle = block.register_forward_hook(add)
        try:
            with torch.no_grad():
                h = model(ids, output_hidden_states=True).hidden_states[3][0].mean(0).numpy()
        finally:
            handle.remove()
        return float((h @ axis.vectors[2] - axis.zero[2]) / axis.unit[2])

    assert position(vector) - position(None) == pytest.approx(1.0, abs=1e-4)


def test_layers_that_cannot_be_exported_are_refused(mapped: Mapped, tmp_path: Path) -> None:
    for wrong in ((0,), (9,), ()):
        with pytest.raises(InputError, match="cannot be exported"):
            export_gguf(mapped.home, tmp_path / "a.gguf", layers=wrong)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot write"):
        export_gguf(mapped.home, tmp_path / "file" / "a.gguf")


def test_by_default_the_layers_of_the_cap_are_written(mapped: Mapped, tmp_path: Path) -> None:
    cap = mapped.identity.section("cap").data["cap"]
    back = import_foreign(export_gguf(mapped.home, tmp_path / "cap.gguf"))
    assert back.layers == tuple(cap["layers"])


def foreign_gguf(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    from gguf import GGUFWriter

    writer: Any = GGUFWriter(str(path), "controlvector")
    writer.add_string("controlvector.model_hint", "llama")
    writer.add_uint32("controlvector.layer_count", len(tensors))
    for name, value in tensors.items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_control_vector_of_another_tool_has_an_unknown_sign(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = {f"direction.{i}": rng.standard_normal(16).astype(np.float32) for i in (1, 2, 5)}
    back = import_foreign(foreign_gguf(tmp_path / "repeng.gguf", rows))
    assert back.layers == (1, 2, 5)
    assert back.sign == "unknown"
    assert "does not say which way" in back.note
    assert np.array_equal(back.vectors, np.stack(list(rows.values())))


def test_foreign_files_that_are_no_directions_are_refused(tmp_path: Path) -> None:
    ones = np.ones(4, np.float32)
    with pytest.raises(InputError, match="no directions of one width"):
        import_foreign(foreign_gguf(tmp_path / "a.gguf", {"weights.1": ones}))
    with pytest.raises(InputError, match="no directions of one width"):
        import_foreign(foreign_gguf(tmp_path / "b.gguf", {"direction.1": ones, "direction.2": np.ones(5, np.float32)}))
    with pytest.raises(InputError, match="not finite"):
        import_foreign(foreign_gguf(tmp_path / "c.gguf", {"direction.1": ones * np.nan}))
    whole = foreign_gguf(tmp_path / "d.gguf", {"direction.1": ones, "direction.2": ones}).read_bytes()
    for cut in (0, 3, 20, 60, len(whole) - 40):  # the last 16 bytes are padding
        (tmp_path / "cut.gguf").write_bytes(whole[:cut])
        with pytest.raises(InputError) as e:
            import_foreign(tmp_path / "cut.gguf")
        assert "\n" not in str(e.value)
    (tmp_path / "x.npy").write_bytes(b"x")
    with pytest.raises(InputError, match=r"ends in '\.npy'"):
        import_foreign(tmp_path / "x.npy")
    with pytest.raises(InputError, match="does not exist"):
        import_foreign(tmp_path / "none.pt")


def test_a_pt_file_of_plain_tensors_is_read(tmp_path: Path) -> None:
    import torch

    table = torch.randn(5, 8)
    torch.save(table, tmp_path / "assistant_axis.pt")
    torch.save({"axis": table.to(torch.bfloat16), "made": "2026", "n": 3}, tmp_path / "named.pt")
    for name, key, tolerance in (("assistant_axis.pt", "", 0.0), ("named.pt", "axis", 0.02)):
        back = import_foreign(tmp_path / name)
        assert (back.layers, back.key, back.sign) == ((0, 1, 2, 3, 4), key, "towards home")
        assert np.allclose(back.vectors, table.numpy(), atol=tolerance, rtol=tolerance)
        assert "negated" in back.note
    torch.save(table[0], tmp_path / "flat.pt")
    torch.save(table * float("inf"), tmp_path / "inf.pt")
    torch.save(torch.zeros(0, 8), tmp_path / "empty.pt")
    torch.save({"a": {"b": 3, "c": [table]}}, tmp_path / "none.pt")
    torch.save(torch.zeros(1).expand(2**20, 2**20), tmp_path / "claim.pt")  # four bytes that claim to be terabytes
    for name, says in (
        ("flat.pt", "no tensor of shape"),
        ("none.pt", "no tensor of shape"),
        ("inf.pt", "not finite"),
        ("empty.pt", "or none"),
        ("claim.pt", "claims more than"),
    ):
        with pytest.raises(InputError, match=says):
            import_foreign(tmp_path / name)


def test_the_published_capping_file_is_read_as_negated(tmp_path: Path) -> None:
    """Its shape: vectors by layer under one name, each with its layer, and experiments that name them with a cap."""
    import torch

    axis = torch.randn(12, 8)
    name = "contrast_role_pos3_default1"
    vectors = {f"layer_{i}/{name}": {"vector": -axis[i].to(torch.bfloat16), "layer": i} for i in (11, 3, 10)}
    experiment = {"id": "layers_10:12-p0.25", "interventions": [{"vector": f"layer_10/{name}", "cap": -31.5}]}
    torch.save({"vectors": vectors, "experiments": [experiment]}, tmp_path / "capping_config.pt")
    for key in (None, name):
        back = import_foreign(tmp_path / "capping_config.pt", key=key)
        assert (back.layers, back.key, back.sign) == ((3, 10, 11), name, "away from home")
        assert np.allclose(back.vectors, -axis[[3, 10, 11]].numpy(), atol=0.02, rtol=0.02)
        assert "ceiling with a negative threshold" in back.note
    bare = {k: v["vector"] for k, v in vectors.items()}
    torch.save({**bare, **{f"layer_{i}/other": torch.ones(8) for i in (1, 2)}}, tmp_path / "two.pt")
    assert import_foreign(tmp_path / "two.pt", key=name).layers == (3, 10, 11)
    other = import_foreign(tmp_path / "two.pt", key="other")
    assert (other.layers, other.sign) == ((1, 2), "unknown")
    with pytest.raises(
        InputError, match=f"holds 2 directions and no key was given; choose one by key: '{name}', 'other'"
    ):
        import_foreign(tmp_path / "two.pt")
    torch.save({"layer_1/x": torch.ones(8), "layer_2/x": torch.ones(9)}, tmp_path / "widths.pt")
    with pytest.raises(InputError, match="several widths under 'x'"):
        import_foreign(tmp_path / "widths.pt")


def test_one_of_many_role_and_trait_vectors_is_chosen_by_key(tmp_path: Path) -> None:
    import torch

    tables = {n: torch.randn(4, 8) for n in ("poet", "pirate", "calm")}
    nested = {"roles": {"poet": tables["poet"], "pirate": tables["pirate"]}, "traits": {"calm": tables["calm"]}}
    nested["roles"]["self"] = nested  # pyright: ignore[reportArgumentType] - a dictionary may hold itself
    file = tmp_path / "vectors.pt"
    torch.save(nested, file)
    for key, whole in (("roles/poet", "roles/poet"), ("pirate", "roles/pirate"), ("calm", "traits/calm")):
        back = import_foreign(file, key=key)
        assert (back.key, back.sign, back.layers) == (whole, "unknown", (0, 1, 2, 3))  # a place has no sign
        assert np.array_equal(back.vectors, tables[key.split("/")[-1]].numpy())
    with pytest.raises(InputError, match="no key was given; choose one by key: 'roles/pirate', 'roles/poet', 'traits/"):
        import_foreign(file)
    with pytest.raises(InputError, match="the key 'shaman' fits none of them; choose"):
        import_foreign(file, key="shaman")
    torch.save({"a": {"x": tables["poet"]}, "b": {"x": tables["calm"]}}, file)
    with pytest.raises(InputError, match="the key 'x' fits 2 of them"):
        import_foreign(file, key="x")
    torch.save({f"role-{i:02}": tables["poet"] for i in range(40)}, file)
    with pytest.raises(InputError, match=r"'role-11' and 28 more$"):
        import_foreign(file)
    torch.save(tables["poet"], tmp_path / "poet.pt")
    assert import_foreign(tmp_path / "poet.pt").sign == "unknown"
    ones = {"direction.1": np.ones(4, np.float32)}
    with pytest.raises(InputError, match="leave out the key 'x'"):
        import_foreign(foreign_gguf(tmp_path / "a.gguf", ones), key="x")


class Bomb:
    """What a hostile file would hold: opening it runs code."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)


@pytest.mark.parametrize("how", ["torch", "nested", "pickle", "truncated", "text"])
def test_a_pt_that_would_run_code_is_refused_and_not_run(tmp_path: Path, how: str) -> None:
    import pickle  # noqa: TID251 - to write what must not be read

    import torch

    bomb, file = tmp_path / "ran", tmp_path / "axis.pt"
    if how == "torch":
        torch.save({"axis": Bomb(str(bomb))}, file)
    elif how == "nested":
        torch.save({"vectors": {"layer_1/x": {"vector": torch.ones(4), "layer": Bomb(str(bomb))}}}, file)
    elif how == "pickle":
        file.write_bytes(pickle.dumps(Bomb(str(bomb))))
    elif how == "truncated":
        torch.save(torch.ones(4, 4), file)
        file.write_bytes(file.read_bytes()[:-40])
    else:
        file.write_text("hello")
    with pytest.raises(InputError, match="not a plain tensor file, or would run code"):
        import_foreign(file)
    assert not bomb.exists()


def test_a_map_without_layer_where_the_other_is_read_is_refused(mapped: Mapped) -> None:
    section, axis = mapped.identity.section("persona"), axis_of(mapped.identity)
    rest = tuple(i for i in axis.layers if i != axis.read_layer)
    at = [axis.layers.index(i) for i in rest]
    part = replace(
        axis, layers=rest, vectors=axis.vectors[at], zero=tuple(axis.zero[i] for i in at),
        unit=tuple(axis.unit[i] for i in at), read_layer=rest[-1], own_reader=None,
    )  # fmt: skip
    arrays = {
        **section.arrays,
        "axis": part.vectors,
        "reader": part.reader.vector,
        "home": section.arrays["home"][at],
        "roles": section.arrays["roles"][:, at],
    }
    other = mapped.identity.with_section("persona", Section(1, {**section.data, "axis": part.to_json()}, arrays))
    with pytest.raises(IdentityError, match="has no layer"):
        compare_identities(mapped.identity, other)


def test_two_noisy_maps_of_one_space_show_no_shift_of_home() -> None:
    """Noise of the first axis must not make the second home seem nearer to its roles."""
    rng = np.random.default_rng(4)
    shifts: list[float] = []
    for _ in range(80):
        space, home = rng.standard_normal((40, 32)), np.zeros(32)
        home[0] = 3.0
        (ra, ha), (rb, hb) = (
            (space + rng.standard_normal(space.shape), home + rng.standard_normal(32) * 0.25) for _ in range(2)
        )
        shifts.append(_figures(ra, rb, ha, hb)[2])
    assert abs(np.mean(shifts)) < 0.04
    moved = _figures(space, space, home, home + 0.3 * (home - space.mean(axis=0)))
    assert moved == pytest.approx((1.0, 0.0, 0.3), abs=1e-3)
    away = _figures(space, space, home, 2 * space.mean(axis=0) - home)
    assert away == pytest.approx((-1.0, 180.0, 0.0), abs=1e-3)  # as far, on the other side: the angle tells
