// The 32 x 32 scalar products of a block of 32 rows of A with a panel of 32 columns of B, for one subgroup of
// LANES lanes (eight, or four that do half of the panel) that is the whole workgroup: afterwards c<r> of lane l holds the
// products of row r with columns 4l..4l+3. To be imported inside a function, where these names are known:
//   a_blocks, b_panels  operand textures
//   lane                this lane
//   first_k, end_k      the sum runs over 4·first_k..4·end_k
//   first_a             texel of (row 0, k = 0) of the block; (row, k) lies at first_a + 32 k + row
//   first_b             texel of (k = 0, this lane's columns); value 4k + q of them lies at
//                       first_b + b_texel(k) + q·B_STEP; or with TRANSPOSED, which costs nothing, values 4k..4k+3 of
//                       this lane's column q. b_texel(k + 1) = b_texel(k) + B_NEXT within a turn
// Each turn of the loop does ROUND texels of A, which divide first_k and end_k; what a turn loads lies in one
// line of its texture and finds its place together: of A the 32·ROUND texels from first_a + 32 k on, of B those from first_b + b_texel(k) to
// (ROUND − 1)·B_NEXT + 3·B_STEP further stay in an aligned run of 32·ROUND.
// One row's value reaches all lanes by a broadcast from a constant lane. Accumulators have names, because
// arrays indexed by a variable live in memory; at least four values of k in each turn, because every accumulator is
// loaded, masked and stored once a turn.
#for r in 0..32
    var c${r} = vec4<f32>(0.0);
#end
    for (var k = first_k; k < end_k; k += ${ROUND}u) {
        let place_a = at(first_a + k * 32u + lane);
        let place_b = at(first_b + b_texel(k));
#for r in 0..32
        let sum0_${r} = c${r};
#end
#for u in 0..ROUND
#for m in 0..32 / LANES
        let a${u}_${m} = textureLoad(a_blocks, place_a + vec2<u32>(${u * 32 + m * LANES}u, 0u));
#end
#for q in 0..4
        let t${u}_${q} = textureLoad(b_panels, place_b + vec2<u32>(${u}u * B_NEXT + ${q}u * B_STEP, 0u));
#end
#for q in 0..4
#if TRANSPOSED
        let b${u}_${q} = vec4<f32>(t${u}_0.${q:xyzw}, t${u}_1.${q:xyzw}, t${u}_2.${q:xyzw}, t${u}_3.${q:xyzw});
#else
        let b${u}_${q} = t${u}_${q};
#endif
#end
#for r in 0..32
        let s${u}_${r} = subgroupBroadcast(a${u}_${r / LANES}, ${r % LANES}u);
        let sum${u + 1}_${r} = (((sum${u}_${r} + s${u}_${r}.x * b${u}_0) + s${u}_${r}.y * b${u}_1) + s${u}_${r}.z * b${u}_2) + s${u}_${r}.w * b${u}_3;
#end
#end
#for r in 0..32
        c${r} = sum${ROUND}_${r};
#end
        // Spares a turn without lanes (docs/kernels.md).
        if k + ${ROUND}u >= end_k { break; }
    }
