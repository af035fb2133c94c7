// Y = Aᵀ M A: the 4 x 4 outputs of every tile.
// binding 0: M (winograd/product), 1: y, NC4HW4; then those of conv/epilogue or conv/statistics.
// Grid: o4 x blocks, so that neighbours read next to one another; one invocation for each tile of a block. Roofline: memory, 36/16 of y read.
#import common/divide
#import common/texel
#import common/pack64
#import winograd/transform

struct Params {
    tiles: u32, tiles_image: u32, tiles_line: u32, blocks: u32,
    o4: u32, height: u32, width: u32, first: u32,
#if STATISTICS
    parts: u32, first_part: u32,
#endif
}
var<immediate> params: Params;
@group(0) @binding(0) var m: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var<storage, read_write> y: array<vec2<u64>>;
#import conv/epilogue
#if STATISTICS
#import conv/statistics
#endif

@compute @workgroup_size(32)
fn output(@builtin(workgroup_id) group: vec3<u32>,
#if STATISTICS
          @builtin(subgroup_invocation_id) lane: u32,
#endif
          @builtin(local_invocation_index) local: u32) {
#import winograd/tile
    if tile >= params.tiles { return; }
    let start = (group.y * params.o4 + group.x) * 32u + local;
    let step = params.blocks * params.o4 * 32u;
    let p_0 = start;
#for k in 1..36
    let p_${k} = p_${k - 1} + step;
#end
#for j in 0..6
    let t_${j} = output_transform(Six(
#for i in 0..6
        textureLoad(m, at(p_${i * 6 + j})),
#end
    ));
#end
    let by = affine(group.x, params.o4);
    let to = params.first + ((n * params.o4 + group.x) * params.height + first_h) * params.width + first_w;
#for i in 0..4
    let y_${i} = output_transform(Six(t_0[${i}], t_1[${i}], t_2[${i}], t_3[${i}], t_4[${i}], t_5[${i}]));
#end
#if STATISTICS
    // Tiles are whole, and eight lanes have one or none each.
    var sum = vec4<f32>(0.0);
    var squares = vec4<f32>(0.0);
#for i in 0..4
#for j in 0..4
    let d_${i}_${j} = y_${i}[${j}] - y_0[0];
    sum += d_${i}_${j};
    squares += d_${i}_${j} * d_${i}_${j};
#end
#end
    let all = statistics_of_subgroup(statistics_of_lane(16.0, y_0[0], sum, squares), lane);
    if lane < 2u {
        statistics[(lane * params.o4 + group.x) * params.parts + params.first_part + tile / 8u] =
            pack64(select(all.squares, all.mean, lane == 0u));
    }
#endif
#for i in 0..4
    if first_h + ${i}u < params.height {
#for j in 0..4
        let to_${i}_${j} = to + ${i}u * params.width + ${j}u;
        if first_w + ${j}u < params.width { y[to_${i}_${j}] = pack64(finish(y_${i}[${j}], by, to_${i}_${j})); }
#end
    }
#end
}
