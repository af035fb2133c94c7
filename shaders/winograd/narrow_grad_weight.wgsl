// Gradient to the weights of 3x3 convolutions with stride 1 and at most 16 output channels by Winograd's F(4, 3) along the lines of an image, as
// winograd/narrow goes forwards:
//   dw[tap(kh, ·), c, o] = Gᵀ Σ over tiles of 4 x 1 outputs (Bᵀ x[n, c, h + kh − padding, ·] ⊙ A dy[n, o, h, ·])
// where six products take the place of the twelve of four outputs and three taps. Nothing that is transformed passes through memory.
// binding 0: x, NC4HW4 texels; 1: dy, likewise; 2: dw, parts of panels (WeightShape) as conv/grad_weight has them.
// One workgroup = one subgroup of LANES lanes in teams of TEAM neighbours that share lines: each has one texel of x's channels, and loads some of dy's, which
// the team exchanges. Other teams have other lines, and their sums are added up at the end. A turn has TILES tiles of a line.
// Grid: x's texels of channels, TEAM to a workgroup x lines of taps x parts. Roofline: arithmetic, half of the direct flops that
// it is counted by, and the transforms.
#import common/texel
#import common/pack64
#import winograd/transform

struct Params {
    images: u32, images_part: u32, out_h: u32, out_w: u32,
    height: u32, width: u32, padding: u32, c4: u32, texels: u32,
}
var<immediate> params: Params;
@group(0) @binding(0) var x: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var dy: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> dw: array<vec2<u64>>;

// In the lanes of the first team, the sum of what the same member of each team has.
fn sum_teams(mine: vec4<f32>, lane: u32) -> vec4<f32> {
    var sum = mine;
#for team in 1..LANES / TEAM
    sum += subgroupShuffle(mine, lane ^ ${team * TEAM}u);
#end
    return sum;
}

@compute @workgroup_size(${LANES})
fn narrow_grad_weight(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let member = lane & ${TEAM - 1}u;
    let team = lane & ${LANES - TEAM}u;
    let c = group.x * ${TEAM}u + member;
    let kh = group.y;
    let first = group.z * params.images_part;
    let end = min(first + params.images_part, params.images);
    let plane = params.height * params.width;
    let out_plane = params.out_h * params.out_w;
#for p in 0..6
#for r in 0..4
#for o in 0..COLUMNS4
    var s${p}_${r}_${o} = vec4<f32>(0.0);
#end
#end
#end
    // One flat loop over lines and tiles of lines: every sum is copied once for each level of nesting. `line_x` and `line_dy` are where this lane's
    // lines of x and dy begin; lines outside of the image wrap to large ones.
    let next_x = params.c4 * plane - params.out_h * params.width;
    let next_dy = ${COLUMNS4}u * out_plane - out_plane;
    let step_x = ${LANES / TEAM}u * params.width;
    let step_dy = ${LANES / TEAM}u * params.out_w;
    var n = first;
    var h = lane / ${TEAM}u;
    var w = 0u;
    var line_x = (first * params.c4 + c) * plane + (h + kh - params.padding) * params.width;
    var line_dy = (first * ${COLUMNS4}u + member) * out_plane + h * params.out_w;
    let turns_line = (params.out_w + ${4 * TILES - 1}u) / ${4 * TILES}u;
    let turns = ((end - first) * params.out_h + ${LANES / TEAM - 1}u) / ${LANES / TEAM}u * turns_line;
    for (var turn = 0u; turn < turns; turn++) {
        let from_x = select(OUTSIDE, line_x, h + kh - params.padding < params.height && n < end && c < params.c4);
#for i in 0..(COLUMNS4 + TEAM - 1) / TEAM
        let from_dy${i} = select(OUTSIDE, line_dy + ${i * TEAM}u * out_plane, n < end && member < ${COLUMNS4 - i * TEAM}u);
#end
#for j in 0..4 * TILES + 2
        let w${j} = w + ${j}u - params.padding;
        let x${j} = textureLoad(x, at(from_x + select(OUTSIDE, w${j}, w${j} < params.width)));
#end
#for j in 0..4 * TILES
        let column${j} = select(OUTSIDE, w + ${j}u, w + ${j}u < params.out_w);
#for i in 0..(COLUMNS4 + TEAM - 1) / TEAM
        let dy${i}_${j} = textureLoad(dy, at(from_dy${i} + column${j}));
#end
#end
#for t in 0..TILES
        let v${t} = input_transform(Six(x${4 * t}, x${4 * t + 1}, x${4 * t + 2}, x${4 * t + 3}, x${4 * t + 4}, x${4 * t + 5}));
#for i in 0..(COLUMNS4 + TEAM - 1) / TEAM
        let m${i}_${t} = grad_output_transform(Four(dy${i}_${4 * t}, dy${i}_${4 * t + 1}, dy${i}_${4 * t + 2}, dy${i}_${4 * t + 3}));
#end
#end
#for p in 0..6
#for o in 0..COLUMNS4
#for t in 0..TILES
        let d${p}_${o}_${t} = subgroupShuffle(m${o / TEAM}_${t}[${p}], team | ${o % TEAM}u);
#end
#for r in 0..4
        let s${p}_${r}_${o}_0 = s${p}_${r}_${o};
#for t in 0..TILES
        let s${p}_${r}_${o}_${t + 1} = s${p}_${r}_${o}_${t} + v${t}[${p}].${r:xyzw} * d${p}_${o}_${t};
#end
        s${p}_${r}_${o} = s${p}_${r}_${o}_${TILES};
#end
#end
#end
        w += ${4 * TILES}u;
        let next_line = w >= params.out_w;
        w = select(w, 0u, next_line);
        h += select(0u, ${LANES / TEAM}u, next_line);
        line_x += select(0u, step_x, next_line);
        line_dy += select(0u, step_dy, next_line);
        let next_image = h >= params.out_h;
        h -= select(0u, params.out_h, next_image);
        n += select(0u, 1u, next_image);
        line_x += select(0u, next_x, next_image);
        line_dy += select(0u, next_dy, next_image);
        // Spares a turn without lanes (docs/kernels.md).
        if turn + 1u >= turns { break; }
    }
#for o in 0..COLUMNS4
#for r in 0..4
    var g${r}_${o} = grad_weight_transform(Six(s0_${r}_${o}, s1_${r}_${o}, s2_${r}_${o}, s3_${r}_${o}, s4_${r}_${o}, s5_${r}_${o}));
#for k in 0..3
    g${r}_${o}[${k}] = sum_teams(g${r}_${o}[${k}], lane);
#end
#end
#end
    if lane >= ${TEAM}u || c >= params.c4 { return; }
    let to = group.z * params.texels + (3u * kh * params.c4 + c) * ${4 * COLUMNS4}u;
#for k in 0..3
#for r in 0..4
#for o in 0..COLUMNS4
    dw[to + ${k * 4 * COLUMNS4}u * params.c4 + ${r * COLUMNS4 + o}u] = pack64(g${r}_${o}[${k}]);
#end
#end
#end
}
