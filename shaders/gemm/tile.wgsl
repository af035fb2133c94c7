// The inner part of every tiled product: C[BM, BN] += A[BM, BK] · B[BK, BN], A and B in workgroup memory.
// What a kernel around it does: `stage_a` and `stage_b` put what it fetched into the tiles, `multiply_tiles` adds their
// product, `finish_sums` after the last one leaves the sums in accumulators: `acc_{i}_{j}` of an invocation holds the four
// columns 4·(local / ROW_THREADS + j·COLUMN_THREADS) + 0..3 of row `tile_row_{i}(local)` of the tile.
// A texel that is fetched holds four k of one row of A, or with A_ALONG_ROWS four rows of one k; four columns of one k of
// B, or with B_ALONG_K four k of one column. Whoever fetches picks the form that its operand has in memory.
// Constants: BM, BN, BK, ROWS, COLUMNS4, ROW_THREADS, COLUMN_THREADS = BN / 4 / COLUMNS4,
// A_STRIDE and B_STRIDE = texels from one line of a tile to the next.
// ROUNDED rounds operands to f16 and adds in f32; COOPERATIVE does the same on cooperative matrices.
#if COOPERATIVE
#import gemm/tile_cooperative
#else
#import gemm/tile_plain
#endif
