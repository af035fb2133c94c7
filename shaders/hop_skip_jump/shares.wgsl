// Workgroup memory of hop_skip_jump/shared_total.
#import common/grid
#import hop_skip_jump/row
#if !ALONE
var<workgroup> shares: array<f32, ${LANES}>;
#endif
