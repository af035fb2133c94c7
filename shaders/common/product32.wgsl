// The 32 x 32 scalar products of a block of 32 rows of A with a panel of 32 columns of B, for one subgroup of
// eight lanes that is the whole workgroup: afterwards c<r> of lane l holds the products of row r with columns
// 4l..4l+3. To be imported inside a function, where these names are known:
//   a_blocks, b_panels  operand textures
//   lane                this lane
//   first_k, end_k      the sum runs over 4·first_k..4·end_k
//   first_a             texel of (row 0, k = 0) of the block; (row, k) lies at first_a + 32 k + row
//   first_b             texel of (k = 0, this lane's columns); value 4k + q of them lies at
//                       first_b + b_texel(k) + q·B_STEP
// One row's value reaches all lanes by a broadcast from a constant lane. Accumulators have names, because
// arrays indexed by a variable live in memory; four values of k in each round, because every accumulator is
// loaded, masked and stored once a round.
#for r in 0..32
    var c${r} = vec4<f32>(0.0);
#end
    for (var k = first_k; k < end_k; k++) {
        let texel_a = first_a + k * 32u + lane;
        let texel_b = first_b + b_texel(k);
#for m in 0..4
        let a${m} = textureLoad(a_blocks, at(texel_a + ${m * 8}u));
#end
#for q in 0..4
        let b${q} = textureLoad(b_panels, at(texel_b + ${q}u * B_STEP));
#end
#for r in 0..32
        let s${r} = subgroupBroadcast(a${r / 8}, ${r % 8}u);
        c${r} = (((c${r} + s${r}.x * b0) + s${r}.y * b1) + s${r}.z * b2) + s${r}.w * b3;
#end
    }
