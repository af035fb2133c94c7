// dU = Vᵀ dM of one chunk of tiles: the 36 products, input channels x tiles times tiles x output channels.
// binding 0: V (winograd/input), 1: dM (winograd/grad_output), 2: dU [chunk][36][i / 2][o4][2], for `rows` channels i from 4·first_c4 on:
// two of them are one store.
// Grid: 32 input channels x 4·LANES output channels x 36, one subgroup of LANES lanes each, two times four tiles an
// iteration: lane = (tile, one of LANES/4 groups of channels) for V, lane = channel group for dM. Roofline: arithmetic.
#import common/texel
#import common/pack64

struct Params { blocks: u32, c4: u32, columns4: u32, first: u32, first_c4: u32, rows: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var v: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var dm: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> du: array<vec4<u64>>;

@compute @workgroup_size(${LANES})
fn grad_product(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let column = group.y * ${LANES}u + lane;
    // Rows and columns beyond the last read what lies there, or zero, and are not stored.
    let first_v = (group.z * params.blocks * params.c4 + params.first_c4 + group.x * 8u + (lane >> 2u)) * 32u + (lane & 3u);
    let first_dm = (group.z * params.blocks * params.columns4 + column) * 32u;
#for r in 0..32
    var c${r} = vec4<f32>(0.0);
#end
    for (var k = 0u; k < params.blocks * 8u; k += 2u) {
        let from_v = first_v + (k >> 3u) * params.c4 * 32u + (k & 7u) * 4u;
        let from_dm = at(first_dm + (k >> 3u) * params.columns4 * 32u + (k & 7u) * 4u);
#for r in 0..32
        let sum0_${r} = c${r};
#end
#for m in 0..32 / LANES
        let place${m} = at(from_v + ${m * LANES * 8}u);
#end
#for u in 0..2
#for m in 0..32 / LANES
        let a${u}_${m} = textureLoad(v, place${m} + vec2<u32>(${u * 4}u, 0u));
#end
#for p in 0..4
        let b${u}_${p} = textureLoad(dm, from_dm + vec2<u32>(${p + 4 * u}u, 0u));
#end
#for r in 0..32
        let sum${u + 1}_${r} = (((sum${u}_${r} + subgroupBroadcast(a${u}_${r / LANES}.${r % 4:xyzw}, ${r / 4 % (LANES / 4) * 4}u) * b${u}_0)
            + subgroupBroadcast(a${u}_${r / LANES}.${r % 4:xyzw}, ${r / 4 % (LANES / 4) * 4 + 1}u) * b${u}_1)
            + subgroupBroadcast(a${u}_${r / LANES}.${r % 4:xyzw}, ${r / 4 % (LANES / 4) * 4 + 2}u) * b${u}_2)
            + subgroupBroadcast(a${u}_${r / LANES}.${r % 4:xyzw}, ${r / 4 % (LANES / 4) * 4 + 3}u) * b${u}_3;
#end
#end
#for r in 0..32
        c${r} = sum2_${r};
#end
        // Spares a turn without lanes (docs/kernels.md).
        if k + 2u >= params.blocks * 8u { break; }
    }
    if column >= params.columns4 { return; }
    let row = group.x * 32u;
    let to = params.first / 2u + (group.z * params.rows + row) / 2u * params.columns4 + column;
#for r in 0..16
    if row + ${2 * r}u < params.rows { du[to + ${r}u * params.columns4] = vec4<u64>(pack64(c${2 * r}), pack64(c${2 * r + 1})); }
#end
}
