//! Tile sizes of the products that stage their operands in workgroup memory (`shaders/gemm/tile.wgsl`).

use crate::gpu::shader::Defines;
use crate::gpu::{Facts, KernelClass, Products};

/// What one workgroup computes: `rows` x `columns` of the result, `depth` of the sum at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub rows: u32,
    pub columns: u32,
    depth: u32,
    /// Rows and texels of columns that one invocation accumulates in registers.
    own_rows: u32,
    own_columns4: u32,
}

const fn tile(rows: u32, columns: u32, depth: u32, own_rows: u32, own_columns4: u32) -> Tile {
    Tile { rows, columns, depth, own_rows, own_columns4 }
}

// Bounded by what every adapter has: 256 invocations and 16 KiB of workgroup memory. Whatever its size, a tile adds the
// products of one output in the order of the sum, so that the choice changes no bits.
const LARGE: Tile = tile(128, 128, 8, 8, 2);
const TALL: Tile = tile(128, 64, 16, 8, 2);
const WIDE: Tile = tile(64, 128, 16, 8, 2);
const MEDIUM: Tile = tile(64, 64, 16, 4, 2);
/// For few channels, and many pixels.
const NARROW: Tile = tile(128, 32, 16, 8, 1);
const SMALL: Tile = tile(32, 32, 16, 4, 1);

/// Every tile that measured rates choose from.
pub(super) const TABLE: [Tile; 6] = [LARGE, TALL, WIDE, MEDIUM, NARROW, SMALL];

/// Without measured rates: tiles with their useful work per time against the largest one, in percent (the ratio of products to
/// workgroup-memory reads decides), and the workgroups that it takes to fill an adapter of the class.
const DISCRETE: (&[(Tile, u64)], u64) = (&[(LARGE, 100), (TALL, 95), (MEDIUM, 75), (SMALL, 45)], 128);
const INTEGRATED: (&[(Tile, u64)], u64) = (&[(MEDIUM, 75), (SMALL, 45)], 16);

/// Tiles on cooperative matrices of 16 x 16: an invocation ends with every sixteenth row. Larger tiles count for more here,
/// because products cost a fraction of what staging does. The largest takes 28 KiB: two operands of 128 lines of ten texels of
/// f16, and sixteen rows of results.
const fn cooperative(rows: u32, columns: u32, own_columns4: u32) -> Tile {
    tile(rows, columns, 32, rows / 16, own_columns4)
}

const COOPERATIVE: (&[(Tile, u64)], u64) = (
    &[
        (cooperative(128, 128, 2), 100),
        (cooperative(128, 64, 1), 80),
        (cooperative(64, 64, 2), 60),
        (cooperative(32, 32, 2), 30),
    ],
    128,
);

/// How the four values of a texel lie in an operand, and which direction neighbouring invocations fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// Four k of one row (A) or column (B); fetched along rows or columns.
    AlongK,
    /// Four k of one row or column; fetched along k.
    AlongKFetchedByK,
    /// Four rows (A) or columns (B) of one k; fetched along rows or columns.
    Across,
    /// Four rows or columns of one k; fetched along k.
    AcrossFetchedByK,
}

impl Operand {
    fn along_k(self) -> bool {
        matches!(self, Operand::AlongK | Operand::AlongKFetchedByK)
    }

    /// Texels from one line of a tile to the next, for `length` rows or columns. What is fetched along k is
    /// stored with the stride between neighbours, which a few texels of padding spread over the memory banks.
    fn stride(self, length: u32, depth: u32, products: Products) -> u32 {
        if products == Products::Cooperative {
            return if self.along_k() { depth } else { length } / 4 + 2;
        }
        match self {
            Operand::AlongK => length,
            Operand::AlongKFetchedByK => length + 32 / depth,
            Operand::Across => length / 4,
            Operand::AcrossFetchedByK => length / 4 + 1,
        }
    }
}

/// What a subgroup owns of a tile on cooperative matrices.
struct Fragments {
    rows: u32,
    columns: u32,
    subgroup_columns: u32,
}

impl Tile {
    /// The fastest tile for `batch` results of `rows` x `columns`: a model of full waves of workgroups, by the adapter's
    /// measured rates or, without them, by the constants of its class.
    pub fn choose(facts: &Facts, rows: usize, columns: usize, batch: usize) -> Tile {
        let groups = |tile: &Tile| tile.row_tiles(rows) * tile.column_tiles(columns) * batch as u64;
        let cooperative = facts.products == Products::Cooperative;
        let rates = if cooperative { &[][..] } else { &facts.tile_rates.tiles };
        let measured = rates.iter().filter_map(|rate| {
            let tile =
                TABLE.into_iter().find(|tile| (tile.rows, tile.columns) == (rate.rows, rate.columns))?;
            Some((rate.cost(groups(&tile)), tile))
        });
        if let Some((_, tile)) = measured.min_by(|a, b| a.0.total_cmp(&b.0)) {
            return tile;
        }
        let (candidates, slots) = match facts.class {
            _ if cooperative => COOPERATIVE,
            KernelClass::Discrete => DISCRETE,
            KernelClass::Integrated | KernelClass::Software => INTEGRATED,
        };
        let cost = |(tile, efficiency): &(Tile, u64)| {
            groups(tile).max(slots) * u64::from(tile.rows * tile.columns) * 100 / efficiency
        };
        candidates.iter().min_by_key(|candidate| cost(candidate)).map_or(SMALL, |(tile, _)| *tile)
    }

    pub fn row_tiles(&self, rows: usize) -> u64 {
        rows.div_ceil(self.rows as usize) as u64
    }

    pub fn column_tiles(&self, columns: usize) -> u64 {
        columns.div_ceil(self.columns as usize) as u64
    }

    fn threads(&self) -> u32 {
        (self.rows / self.own_rows) * (self.columns / 4 / self.own_columns4)
    }

    /// Rows and columns of subgroups of `lanes` invocations over the tile, and the matrices of 16 x 16 of each.
    fn fragments(&self, lanes: u32) -> Fragments {
        let subgroups = (self.threads() / lanes.max(1)).max(1);
        let mut across = 1;
        while across * across * 4 <= subgroups {
            across *= 2;
        }
        Fragments {
            rows: self.rows / 16 / (subgroups / across),
            columns: self.columns / 16 / across,
            subgroup_columns: across,
        }
    }

    /// The text constants of `gemm/tile` and of the kernels around it.
    pub fn defines(&self, facts: &Facts, a: Operand, b: Operand) -> Defines {
        let threads = self.threads();
        let defines = match facts.products {
            Products::Single => Defines::new(),
            Products::Rounded => Defines::new().with("ROUNDED", 1),
            Products::Cooperative => {
                let Fragments { rows, columns, subgroup_columns } =
                    self.fragments(facts.subgroup.unwrap_or(32));
                Defines::new()
                    .with("COOPERATIVE", 1)
                    .with("FRAGMENT_ROWS", rows)
                    .with("FRAGMENT_COLUMNS", columns)
                    .with("SUBGROUP_COLUMNS", subgroup_columns)
            }
        };
        defines
            .with("BM", self.rows)
            .with("BN", self.columns)
            .with("BK", self.depth)
            .with("ROWS", self.own_rows)
            .with("COLUMNS4", self.own_columns4)
            .with("THREADS", threads)
            .with("ROW_THREADS", self.rows / self.own_rows)
            .with("COLUMN_THREADS", self.columns / 4 / self.own_columns4)
            .with("UNITS_A", self.rows * self.depth / 4 / threads)
            .with("UNITS_B", self.columns * self.depth / 4 / threads)
            .with("A_ALONG_ROWS", !a.along_k())
            .with("B_ALONG_K", b.along_k())
            .with("A_STRIDE", a.stride(self.rows, self.depth, facts.products))
            .with("B_STRIDE", b.stride(self.columns, self.depth, facts.products))
    }
}
