//! Baselines A, D and F: attacks on the posteriors of a downstream head.

use super::{Baseline, BaselineSettings};
use crate::Result;
use crate::attack::membership::metric::{self, Measure, MetricSettings};
use crate::attack::membership::{Four, Posteriors, network};
use crate::gpu::Gpu;

/// On which samples the head was fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// On samples that no attack judges: only the encoder can leak.
    DisjointHead,
    /// Baseline F: encoder and head on the same labelled members, as X. He and Y. Zhang (ACM CCS 2021) do.
    HeadOnMembers,
}

impl Setting {
    fn id(self, letter: &str, suffix: &str) -> String {
        match self {
            Setting::DisjointHead => format!("baseline-{letter}{suffix}"),
            Setting::HeadOnMembers => format!("baseline-f-{letter}{suffix}"),
        }
    }

    fn title(self, title: &str) -> String {
        match self {
            Setting::DisjointHead => title.into(),
            Setting::HeadOnMembers => format!("{title}, head fitted on the members"),
        }
    }
}

/// A: the sorted `top` largest posteriors and a network k-64-2 (Shokri et al., S&P 2017; Salem et al., NDSS 2019).
/// Unlike He and Zhang's attack it does not see whether the prediction was right.
///
/// # Errors
/// Empty sets, classes that differ, settings that make no sense.
pub fn confidence_network(
    gpu: &Gpu,
    posteriors: &Four<Posteriors>,
    setting: Setting,
    settings: &BaselineSettings,
    seed: u64,
) -> Result<Baseline> {
    let top = settings.top.min(posteriors.classes()?);
    let rows = posteriors.try_map(|set| set.top(top))?;
    let outcome = network::attack(gpu, &rows, &settings.network(&[64]), seed)?;
    let explanation = format!(
        "A classification head was put on the encoder; a network judges membership by the head's {top} largest \
         posteriors."
    );
    let (id, title) = (setting.id("a", ""), setting.title("Confidence network on a head"));
    Ok(Baseline::new(&id, &title, &explanation, outcome))
}

/// D: thresholds on confidence, entropy and modified entropy of the head, one for each class.
///
/// # Errors
/// Empty sets, classes that differ.
pub fn head_metrics(posteriors: &Four<Posteriors>, setting: Setting) -> Result<Vec<Baseline>> {
    [Measure::Confidence, Measure::Entropy, Measure::ModifiedEntropy]
        .into_iter()
        .map(|measure| {
            let (outcome, _) = metric::attack(posteriors, measure, &MetricSettings::default())?;
            let id = setting.id("d", &format!("-{measure}"));
            let title = setting.title(&format!("{} of a head", measure.title()));
            let explanation =
                format!("On a classification head that was put on the encoder: {}", measure.explanation());
            Ok(Baseline::new(&id, &title, &explanation, outcome))
        })
        .collect()
}
