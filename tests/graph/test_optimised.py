import jax
import jax.numpy as jnp
import pytest

from aidl_jax.graph.optimised import Counts, computations, count, kernels

PROGRAM = """\
HloModule jit_f, is_scheduled=true, entry_computation_layout={(f32[4]{0})->f32[4]{0}}

%inner (param_0: f32[4]) -> f32[4] {
  %param_0 = f32[4]{0} parameter(0)
  ROOT %abs.1 = f32[4]{0} abs(%param_0)
}

%fused_computation (param_0.1: f32[4]) -> f32[4] {
  %param_0.1 = f32[4]{0} parameter(0)
  %constant.1 = f32[] constant(2)
  %broadcast.1 = f32[4]{0} broadcast(%constant.1), dimensions={}
  %multiply.1 = f32[4]{0} multiply(%param_0.1, %broadcast.1), metadata={op_name="jit(f)/mul = fusion(" source_line=3}
  ROOT %nested = f32[4]{0} fusion(%multiply.1), kind=kLoop, calls=%inner
}

%wrapped_broadcast (param_0.2: f32[]) -> f32[4] {
  %param_0.2 = f32[] parameter(0)
  ROOT %broadcast.2 = f32[4]{0} broadcast(%param_0.2), dimensions={}
}

%body (state: (s32[], /*index=1*/f32[4])) -> (s32[], f32[4]) {
  %state = (s32[], /*index=1*/f32[4]{0}) parameter(0)
  %item = f32[4]{0} get-tuple-element(%state), index=1
  %loop_fusion = f32[4]{0} fusion(%item), kind=kLoop, calls=%fused_computation
  ROOT %tuple = (s32[], f32[4]{0}) tuple(%item, %loop_fusion)
}

%condition (state.1: (s32[], f32[4])) -> pred[] {
  %state.1 = (s32[], f32[4]{0}) parameter(0)
  %number = s32[] get-tuple-element(%state.1), index=0
  ROOT %compare.1 = pred[] compare(%number, %number), direction=LT
}

%region_0.2 (a: f32[4]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  ROOT %sine = f32[4]{0} sine(%a)
}

%region_1.3 (b: f32[4]) -> f32[4] {
  %b = f32[4]{0} parameter(0)
  ROOT %cosine = f32[4]{0} cosine(%b)
}

%add (c: f32[], d: f32[]) -> f32[] {
  %c = f32[] parameter(0)
  %d = f32[] parameter(1)
  ROOT %sum = f32[] add(%c, %d)
}

ENTRY %main.3 (x.1: f32[4], n.1: s32[]) -> f32[4] {
  %x.1 = f32[4]{0} parameter(0), metadata={op_name="x"}
  %n.1 = s32[] parameter(1)
  %start = (s32[], f32[4]{0}) tuple(%n.1, %x.1)
  %while.1 = (s32[], f32[4]{0}) while(%start), condition=%condition, body=%body
  %out = f32[4]{0} get-tuple-element(%while.1), index=1
  %cond = f32[4]{0} conditional(%n.1, %out, %out), branch_computations={%region_0.2, %region_1.3}
  %sum.2 = f32[] call(%cond), to_apply=%called
  %wide = f32[4]{0} fusion(%sum.2), kind=kLoop, calls=%wrapped_broadcast
  ROOT %solve = f32[4]{0} custom-call(%wide), custom_call_target="routine"
}

%called (e: f32[4]) -> f32[] {
  %e = f32[4]{0} parameter(0)
  %zero = f32[] constant(0)
  ROOT %reduce = f32[] reduce(%e, %zero), dimensions={0}, to_apply=%add
}
"""


def test_kernels_are_read_through_loops_branches_and_calls():
    assert kernels(PROGRAM) == [
        ("compare",),
        ("multiply", "abs"),
        ("sine",),
        ("cosine",),
        ("reduce",),
        ("broadcast",),
        ("custom-call",),
    ]
    lines = [line for line in PROGRAM.splitlines() if line.startswith("  ")]
    assert count(PROGRAM) == Counts(len(lines), kernels=7, fusions=1, loops=1, library_calls=1)


def test_every_computation_is_found():
    entry, found = computations(PROGRAM)
    assert entry == "main.3"
    assert set(found) == {line.split(" (")[0].lstrip("ENTRY %") for line in PROGRAM.splitlines() if line.endswith("{")}
    assert [one.opcode for one in found["region_0.2"]] == ["parameter", "sine"]


@pytest.mark.oldest
@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x, []),
        (lambda x: jnp.maximum(x, 0.0) * 2.0, [("maximum", "multiply")]),
        (lambda x: jnp.sort(x), [("sort",)]),
    ],
)
def test_kernels_of_what_jax_compiles(function, expected):
    text = jax.jit(function).lower(jnp.ones(8)).compile().as_text()
    found = [kernel for kernel in kernels(text) if kernel != ("copy",)]
    assert [sorted(kernel) for kernel in found] == [sorted(kernel) for kernel in expected]
