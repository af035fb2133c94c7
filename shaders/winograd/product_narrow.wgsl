// winograd/product for at most 16 output channels (input channels with TRANSPOSED): there the 32 columns of its tile would
// be idle lanes. Here a lane is a tile, has all of its columns, and U comes by broadcast.
// bindings as in winograd/product. Grid: pairs of blocks of 32 tiles x 1 x 36, one subgroup of eight lanes each. Roofline: memory.
#import common/texel
#import common/pack64

struct Params { blocks: u32, depth: u32, columns4: u32, panels: u32, rows: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var a_blocks: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var u: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> m: array<vec2<u64>>;

@compute @workgroup_size(8)
fn product_narrow(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let first_block = group.x * 2u;
    let first_a = (group.z * params.blocks + first_block) * params.depth * 32u + lane;
    let next_block = params.depth * 32u;
#for t in 0..8
#for o in 0..COLUMNS4
    var c${t}_${o} = vec4<f32>(0.0);
#end
#end
    for (var k = 0u; k < params.depth; k++) {
#for t in 0..8
        let a${t} = textureLoad(a_blocks, at(first_a + ${t / 4}u * next_block + k * 32u + ${t % 4 * 8}u));
#end
#if TRANSPOSED
        // A lane has four k of one channel, of sixteen.
        let from_u = ((group.z * params.panels + (k >> 3u)) * params.rows + lane) * 8u + (k & 7u);
#for q in 0..2
        let u${q} = textureLoad(u, at(from_u + ${q * 64}u));
#end
#else
        // A lane has four channels of one k, of four texels and four k.
        let from_u = (group.z * params.rows + k * 4u + (lane >> 2u)) * 8u + (lane & 3u);
#for q in 0..2
        let u${q} = textureLoad(u, at(from_u + ${q * 16}u));
#end
#endif
#for o in 0..COLUMNS4
#for q in 0..4
#if TRANSPOSED
        let w${o}_${q} = vec4<f32>(
#for i in 0..4
            subgroupBroadcast(u${(o * 4 + i) / 8}.${q:xyzw}, ${(o * 4 + i) % 8}u),
#end
        );
#else
        let w${o}_${q} = subgroupBroadcast(u${q / 2}, ${q % 2 * 4 + o}u);
#endif
#end
#for t in 0..8
        c${t}_${o} = (((c${t}_${o} + a${t}.x * w${o}_0) + a${t}.y * w${o}_1) + a${t}.z * w${o}_2) + a${t}.w * w${o}_3;
#end
#end
    }
    let to = (group.z * params.blocks + first_block) * ${COLUMNS4 * 32}u + lane;
#for b in 0..2
    if first_block + ${b}u < params.blocks {
#for o in 0..COLUMNS4
#for t in 0..4
        m[to + ${b * 32 * COLUMNS4 + o * 32 + t * 8}u] = pack64(c${b * 4 + t}_${o});
#end
#end
    }
#end
}
