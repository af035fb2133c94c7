//! Measured rates of the tiled products, and the file that keeps them from one run to the next.

use super::adapter::Gpu;
use crate::files::write_bytes_atomic;
use crate::{Error, Result};
use etcetera::BaseStrategy as _;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where [`TileRates`] come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RateSource {
    /// The constants of the kernels' own table.
    #[default]
    Fixed,
    /// Measured by this process.
    Measured,
    /// Measured by an earlier process on this adapter, with these shaders and this driver.
    Cache,
}

/// What one size of tile costs on an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TileRate {
    /// Rows and columns of the result that a workgroup computes.
    pub rows: u32,
    pub columns: u32,
    /// Nanoseconds for each workgroup and each term of its sums, with the adapter full of workgroups.
    pub full_ns: f64,
    /// Nanoseconds for each term of the sums of a workgroup that is alone.
    pub alone_ns: f64,
}

impl TileRate {
    /// Nanoseconds that `groups` workgroups take for each term of their sums.
    pub fn cost(&self, groups: u64) -> f64 {
        (groups as f64 * self.full_ns).max(self.alone_ns)
    }

    /// Workgroups that fill the adapter.
    pub fn slots(&self) -> f64 {
        self.alone_ns / self.full_ns
    }

    fn valid(&self) -> bool {
        [self.full_ns, self.alone_ns].iter().all(|ns| ns.is_finite() && *ns > 0.0)
    }
}

/// Rates of the sizes of tile to choose from; none of them for the fixed constants.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TileRates {
    pub source: RateSource,
    pub tiles: Vec<TileRate>,
}

impl TileRates {
    /// Tiles of this size alone, whatever they cost: for measurements and tests.
    pub fn only(rows: u32, columns: u32) -> TileRates {
        let tile = TileRate { rows, columns, full_ns: 1.0, alone_ns: 1.0 };
        TileRates { source: RateSource::Fixed, tiles: vec![tile] }
    }

    /// `tiles` as they were measured.
    ///
    /// # Errors
    /// A time that is not a positive number: a clock or a device that does not tell.
    pub fn measured(tiles: Vec<TileRate>) -> Result<TileRates> {
        match tiles.iter().find(|tile| !tile.valid()) {
            Some(tile) => Err(Error::gpu(format!(
                "tile of {} x {}: expected times above 0, measured {} and {} ns",
                tile.rows, tile.columns, tile.full_ns, tile.alone_ns
            ))),
            None => Ok(TileRates { source: RateSource::Measured, tiles }),
        }
    }
}

/// What rates hold for: another adapter, driver or set of kernels has others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TuneKey {
    pub adapter: String,
    pub backend: String,
    pub driver: String,
    pub driver_info: String,
    /// Of shaders and tile table, hexadecimal.
    pub kernels_sha256: String,
}

impl TuneKey {
    /// Of the adapter in use.
    pub fn new(gpu: &Gpu, kernels_sha256: String) -> TuneKey {
        let of = gpu.description();
        TuneKey {
            adapter: of.name.clone(),
            backend: of.backend.clone(),
            driver: of.driver.clone(),
            driver_info: of.driver_info.clone(),
            kernels_sha256,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    key: TuneKey,
    tiles: Vec<TileRate>,
}

/// The file of rates: JSON, a list of keys with their tiles, the newest last.
#[derive(Clone, Debug)]
pub struct TuneCache {
    path: PathBuf,
}

/// Adapters, drivers and versions of the kernels that the file remembers.
const MOST_ENTRIES: usize = 16;
/// What a larger file holds is nothing that was written here.
const MOST_BYTES: u64 = 1 << 20;

impl TuneCache {
    pub fn at(path: impl Into<PathBuf>) -> TuneCache {
        TuneCache { path: path.into() }
    }

    /// In the user's folder for caches (`$XDG_CACHE_HOME` or `~/.cache`, `~/Library/Caches`, `%LOCALAPPDATA%`); `None`
    /// where the system names no such folder.
    pub fn of_user() -> Option<TuneCache> {
        let base = etcetera::base_strategy::choose_native_strategy().ok()?;
        Some(TuneCache::at(base.cache_dir().join("contraleak").join("tiles.json")))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The rates that were kept under `key` and have exactly the sizes `tiles`. Nothing for a file that is missing,
    /// unreadable or not what was written: rates can be measured again.
    pub fn read(&self, key: &TuneKey, tiles: &[(u32, u32)]) -> Option<TileRates> {
        let entry = self.entries().into_iter().rev().find(|entry| entry.key == *key)?;
        let sizes = entry.tiles.iter().map(|tile| (tile.rows, tile.columns));
        let good = sizes.eq(tiles.iter().copied()) && entry.tiles.iter().all(TileRate::valid);
        good.then_some(TileRates { source: RateSource::Cache, tiles: entry.tiles })
    }

    /// Keeps `rates` under `key`, beside what the file holds for others. Two processes that write at once may lose one's
    /// entry, never the file.
    ///
    /// # Errors
    /// [`Error::Io`] naming the file or folder that cannot be written.
    pub fn write(&self, key: &TuneKey, rates: &TileRates) -> Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        }
        let mut entries = self.entries();
        entries.retain(|entry| entry.key != *key);
        entries.push(Entry { key: key.clone(), tiles: rates.tiles.clone() });
        entries.drain(..entries.len().saturating_sub(MOST_ENTRIES));
        let json = serde_json::to_vec_pretty(&entries).map_err(|error| {
            Error::data(self.path.display(), format!("cannot be written as JSON: {error}"))
        })?;
        write_bytes_atomic(&self.path, &json)
    }

    fn entries(&self) -> Vec<Entry> {
        let small =
            std::fs::metadata(&self.path).is_ok_and(|about| about.is_file() && about.len() <= MOST_BYTES);
        let bytes = small.then(|| std::fs::read(&self.path).ok()).flatten();
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }
}
