//! What may be said of a quantity from its values under several seeds.
//!
//! The unit of replication is the run: one value a seed, independent of each other and of nothing
//! else. So an interval is Student's over those values, and never one over the correlated events
//! within a run. Every transcendental function is `libm`'s, so that the last digit of an interval
//! is the same on every platform.

use libm::{exp, fabs, lgamma, log, log1p, sqrt};

/// A mean over seeds and how far it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean of the values.
    pub mean: f64,
    /// Lower end of the interval that holds the expected value in 95 of 100 such experiments.
    pub low: f64,
    /// Upper end of that interval.
    pub high: f64,
    /// How many values there are.
    pub n: u32,
    /// Whether all of several values are the same: a figure of the scenario, not of chance.
    pub exact: bool,
}

/// Two variants under the same seeds, compared seed by seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// The ratio or the difference, as the function that made it says.
    pub estimate: Estimate,
    /// How probable a difference at least as large is where there is none (two-sided t test).
    pub p: f64,
}

/// Below this many seeds a report says that they are few: the interval then leans on the values'
/// being nearly normal.
pub const FEW: u32 = 10;

/// The confidence of every interval in this project.
pub const CONFIDENCE: f64 = 0.95;

impl Estimate {
    /// The mean of `values` with its interval. NaN is no measurement and is left out; there is no
    /// estimate of nothing, nor of values that are infinite in both directions.
    ///
    /// With one value the interval is that value, and [`has_interval`](Self::has_interval) says
    /// no. With an infinite value it reaches from the least to the greatest.
    pub fn of(values: &[f64]) -> Option<Self> {
        let values: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
        let n = u32::try_from(values.len()).unwrap_or(u32::MAX);
        let least = values.iter().copied().min_by(f64::total_cmp)?;
        let greatest = values.iter().copied().max_by(f64::total_cmp)?;
        if least.total_cmp(&greatest).is_eq() || least >= greatest {
            return Some(Self { mean: least, low: least, high: least, n, exact: 2 <= n });
        }
        if least.is_infinite() || greatest.is_infinite() {
            let mean = least + greatest;
            return (!mean.is_nan()).then_some(Self {
                mean,
                low: least,
                high: greatest,
                n,
                exact: false,
            });
        }
        let (mean, variance) = mean_and_variance(&values);
        let half_width =
            t_quantile(0.5 + CONFIDENCE / 2.0, f64::from(n - 1)) * sqrt(variance / f64::from(n));
        Some(Self { mean, low: mean - half_width, high: mean + half_width, n, exact: false })
    }

    /// The mean of `values` with the help of controls: numbers of the same runs of which theory
    /// knows the expectation, each row their deviations from it under one seed. What chance did
    /// to the controls it did to the values too, and a regression takes that part out (Lavenberg
    /// and Welch, "A Perspective on the Use of Control Variables to Increase the Efficiency of
    /// Monte Carlo Simulations", 1981). The estimate is the intercept, with Student's interval.
    ///
    /// With few seeds for the number of controls, or values or controls that do not vary, it is
    /// the plain mean.
    pub fn controlled(values: &[f64], controls: &[Vec<f64>]) -> Option<Self> {
        assert_eq!(values.len(), controls.len(), "each seed has a value and its controls");
        let plain = Self::of(values)?;
        let count = controls.iter().map(Vec::len).min().unwrap_or(0);
        let is_finite = values.iter().chain(controls.iter().flatten()).all(|x| x.is_finite());
        if plain.exact || !is_finite || values.len() < count + FEW as usize {
            return Some(plain);
        }
        let is_varying = |&j: &usize| {
            let column: Vec<f64> = controls.iter().map(|row| row[j]).collect();
            0.0 < mean_and_variance(&column).1
        };
        let varying: Vec<usize> = (0..count).filter(is_varying).collect();
        let rows: Vec<Vec<f64>> = controls
            .iter()
            .map(|row| std::iter::once(1.0).chain(varying.iter().map(|&j| row[j])).collect())
            .collect();
        Some(intercept(&rows, values).map_or(plain, |(mean, variance)| {
            let df = (values.len() - 1 - varying.len()) as f64;
            let half_width = t_quantile(0.5 + CONFIDENCE / 2.0, df) * sqrt(variance);
            Self { mean, low: mean - half_width, high: mean + half_width, ..plain }
        }))
    }

    /// Whether there are several seeds, and so a spread over them.
    pub fn has_interval(&self) -> bool {
        2 <= self.n
    }

    /// Whether the seeds are so few that a reader must be told.
    pub fn few(&self) -> bool {
        self.n < FEW
    }

    /// Whether the interval holds `value`.
    pub fn holds(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// How many times `of` is as much as `to`, seed by seed: the geometric mean of the ratios, with
/// an interval that is symmetric on the log scale. `None` where a pair has a value that is not
/// positive and finite, or where the two do not have the same seeds.
pub fn ratio(of: &[f64], to: &[f64]) -> Option<Paired> {
    let is_usable = |value: &f64| value.is_finite() && 0.0 < *value;
    if of.len() != to.len() || !of.iter().chain(to).all(is_usable) {
        return None;
    }
    let logs: Vec<f64> = of.iter().zip(to).map(|(&a, &b)| negligible(log(a / b), 1.0)).collect();
    let log_ratio = Estimate::of(&logs)?;
    let estimate = Estimate {
        mean: exp(log_ratio.mean),
        low: exp(log_ratio.low),
        high: exp(log_ratio.high),
        ..log_ratio
    };
    Some(Paired { estimate, p: p_of(&logs, &log_ratio) })
}

/// How much more `of` is than `less`, seed by seed. `None` where a value is not finite, or where
/// the two do not have the same seeds.
pub fn difference(of: &[f64], less: &[f64]) -> Option<Paired> {
    if of.len() != less.len() || !of.iter().chain(less).all(|value| value.is_finite()) {
        return None;
    }
    let differences: Vec<f64> =
        of.iter().zip(less).map(|(&a, &b)| negligible(a - b, fabs(a) + fabs(b))).collect();
    let estimate = Estimate::of(&differences)?;
    Some(Paired { estimate, p: p_of(&differences, &estimate) })
}

/// A difference that only the rounding of sums can have made is none.
fn negligible(difference: f64, scale: f64) -> f64 {
    if fabs(difference) <= 1e-12 * scale { 0.0 } else { difference }
}

/// Two-sided probability of a mean as far from zero as this one, where the expected one is zero.
/// One seed proves nothing; the same difference under each of several seeds is beyond doubt.
fn p_of(values: &[f64], estimate: &Estimate) -> f64 {
    if !estimate.has_interval() {
        return 1.0;
    }
    if estimate.exact {
        return if estimate.mean == 0.0 { 1.0 } else { 0.0 };
    }
    let (mean, variance) = mean_and_variance(values);
    let t = mean / sqrt(variance / f64::from(estimate.n));
    let df = f64::from(estimate.n - 1);
    incomplete_beta(df / 2.0, 0.5, df / (df + t * t))
}

/// The `p`s of several comparisons, each raised so that the chance of any false alarm among them
/// stays below the level that it is held against (Holm, "A Simple Sequentially Rejective Multiple
/// Test Procedure", 1979). In the order of `ps`.
pub fn holm(ps: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..ps.len()).collect();
    order.sort_by(|&a, &b| ps[a].total_cmp(&ps[b]));
    let mut adjusted = vec![1.0; ps.len()];
    let mut highest = 0.0_f64;
    for (rank, &index) in order.iter().enumerate() {
        highest = highest.max(((ps.len() - rank) as f64 * ps[index]).min(1.0));
        adjusted[index] = highest;
    }
    adjusted
}

/// The interval of a probability of which `successes` of `trials` are known: at least 95 %, exact
/// for every size (Clopper and Pearson, "The Use of Confidence or Fiducial Limits Illustrated in
/// the Case of the Binomial", 1934). From 0 to 1 where there was no trial.
pub fn binomial_interval(successes: u64, trials: u64) -> (f64, f64) {
    assert!(successes <= trials, "{successes} successes in {trials} trials");
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let (k, n) = (successes as f64, trials as f64);
    let low = if successes == 0 { 0.0 } else { beta_quantile(tail, k, n - k + 1.0) };
    let high = if successes == trials { 1.0 } else { beta_quantile(1.0 - tail, k + 1.0, n - k) };
    (low, high)
}

/// The interval, at `confidence`, of a probability of which the share `shares` came true under each
/// seed, in `trials` trials in all, where trials of one run may come true together: the exact
/// binomial interval with as many independent trials as have the spread that the seeds show (Korn
/// and Graubard, "Confidence Intervals for Proportions with Small Expected Number of Positive
/// Counts Estimated from Survey Data", 1998). Never with more than there were.
pub fn clustered_binomial_interval(shares: &[f64], trials: u64, confidence: f64) -> (f64, f64) {
    let tail = (1.0 - confidence) / 2.0;
    let Some(Estimate { mean: share, .. }) = Estimate::of(shares) else { return (0.0, 1.0) };
    let effective = independent_trials(shares, trials, confidence);
    let successes = share * effective;
    let low = if share <= 0.0 {
        0.0
    } else {
        beta_quantile(tail, successes, effective - successes + 1.0)
    };
    let high = if 1.0 <= share {
        1.0
    } else {
        beta_quantile(1.0 - tail, successes + 1.0, effective - successes)
    };
    (low, high)
}

/// As how many independent trials the `trials` of all seeds count, of which the share `shares` came
/// true under each: see [`clustered_binomial_interval`].
pub fn independent_trials(shares: &[f64], trials: u64, confidence: f64) -> f64 {
    let n = trials as f64;
    let (share, variance) = mean_and_variance(shares);
    if shares.len() < 2 || share <= 0.0 || 1.0 <= share {
        return n;
    }
    let variance_of_mean = variance / shares.len() as f64;
    let df = (shares.len() - 1) as f64;
    // With few seeds the spread itself is known badly, which costs trials.
    let tail = (1.0 - confidence) / 2.0;
    let known = t_quantile(1.0 - tail, n.max(2.0) - 1.0) / t_quantile(1.0 - tail, df);
    (share * (1.0 - share) / variance_of_mean * known * known).min(n)
}

/// The chance of a chi-square of at least `value` at so many `degrees` of freedom: the upper
/// incomplete gamma function, as a series or a continued fraction, whichever converges fast
/// (Abramowitz and Stegun, 26.4.2, 6.5.29 and 6.5.31).
pub fn chi_square_p(value: f64, degrees: f64) -> f64 {
    assert!(0.0 < degrees, "{degrees} degrees of freedom");
    let (a, x) = (degrees / 2.0, value / 2.0);
    if x <= 0.0 {
        return 1.0;
    }
    let scale = exp(a * log(x) - x - lgamma(a));
    // Some steps beyond the greatest term, which lies near `a`, all is settled.
    let steps = 100 + (20.0 * sqrt(a.max(x))) as u32;
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for step in 1..steps {
            term *= x / (a + f64::from(step));
            sum += term;
        }
        return (1.0 - scale * sum).clamp(0.0, 1.0);
    }
    let mut fraction = 0.0;
    for step in (1..steps).rev() {
        let i = f64::from(step);
        fraction = i * (i - a) / (x + 2.0 * i + 1.0 - a - fraction);
    }
    (scale / (x + 1.0 - a - fraction)).clamp(0.0, 1.0)
}

/// How many of the first `averages` to leave out as warm-up: the truncation after which the mean
/// of the rest is known best, by averages of five (White, "An Effective Truncation Heuristic for
/// Bias Reduction in Simulation Output", 1997; MSER-5: White, Cobb and Spratt 2000).
///
/// `averages` are averages over seeds, one a step of time. MSER may only cut in the first half: one
/// that would rather cut later has seen either drift or, in a short run, chance. So `None` where
/// what follows the best cut of the first half still drifts (its slope differs from zero with 99 %
/// confidence), as for a queue that only grows; and where there are fewer than 25 steps or one that
/// is not finite: then there is no steady state to be seen.
pub fn warm_up(averages: &[f64]) -> Option<usize> {
    const BATCH: usize = 5;
    if !averages.iter().all(|value| value.is_finite()) {
        return None;
    }
    let batches: Vec<f64> = averages
        .chunks_exact(BATCH)
        .map(|batch| batch.iter().sum::<f64>() / BATCH as f64)
        .collect();
    // From the end to the beginning, with Welford's update, each truncation costs one step.
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    let (mut anywhere, mut best) = (f64::INFINITY, (f64::INFINITY, 0));
    for (cut, &batch) in batches.iter().enumerate().rev() {
        count += 1.0;
        let delta = batch - mean;
        mean += delta / count;
        squares += delta * (batch - mean);
        // The last few batches can agree by chance: the usual rule is not to look at those cuts.
        if count < 5.0 {
            continue;
        }
        let score = squares / (count * count);
        anywhere = anywhere.min(score);
        if cut <= batches.len() / 2 && score <= best.0 {
            best = (score, cut);
        }
    }
    let (score, cut) = best;
    let settled = score.is_finite() && (score <= anywhere || !drifts(&batches[cut..]));
    settled.then_some(cut * BATCH)
}

/// Whether `values` rise or fall with their index: Student's test of the slope, at 99 %.
fn drifts(values: &[f64]) -> bool {
    let n = values.len() as f64;
    let (middle, mean) = ((n - 1.0) / 2.0, values.iter().sum::<f64>() / n);
    let (mut of_index, mut of_both, mut of_value) = (0.0, 0.0, 0.0);
    for (index, value) in values.iter().enumerate() {
        let (x, y) = (index as f64 - middle, value - mean);
        of_index += x * x;
        of_both += x * y;
        of_value += y * y;
    }
    let unexplained = (of_value - of_both * of_both / of_index).max(0.0);
    let t = t_quantile(0.995, n - 2.0);
    // t = slope / its standard error, squared, without a division by what may be zero.
    t * t * unexplained < (n - 2.0) * of_both * of_both / of_index
}

/// Student's t with `df` degrees of freedom: the value that a share `p` of draws stays below.
///
/// For `p` in 0.5..1. Newton's method from zero: the distribution function is concave there, so
/// every step falls short of the root and none can leave the bracket.
pub(crate) fn t_quantile(p: f64, df: f64) -> f64 {
    assert!((0.5..1.0).contains(&p), "a quantile of the upper half, not {p}");
    assert!(1.0 <= df, "{df} degrees of freedom");
    let log_scale =
        lgamma(f64::midpoint(df, 1.0)) - lgamma(df / 2.0) - 0.5 * log(df * std::f64::consts::PI);
    let mut t = 0.0;
    for _ in 0..100 {
        let above = 0.5 * incomplete_beta(df / 2.0, 0.5, df / (df + t * t));
        let density = exp(log_scale - f64::midpoint(df, 1.0) * log1p(t * t / df));
        let step = (p - (1.0 - above)) / density;
        t += step;
        if fabs(step) <= 1e-12 * (1.0 + t) {
            break;
        }
    }
    t
}

/// The value that a share `p` of draws of a beta distribution stays below, by bisection.
fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if incomplete_beta(a, b, middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22) with the
/// algorithm of Lentz as modified by Thompson and Barnett (1986).
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if 1.0 <= x {
        return 1.0;
    }
    // The fraction converges fast on this side of the mean, and the function is symmetric.
    if (a + 1.0) / (a + b + 2.0) < x {
        return 1.0 - incomplete_beta_low(b, a, 1.0 - x);
    }
    incomplete_beta_low(a, b, x)
}

fn incomplete_beta_low(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    // Some sqrt(max(a, b)) steps are needed; this allows for 10^10.
    const STEPS: u32 = 200_000;
    let away_from_zero = |value: f64| if fabs(value) < TINY { TINY } else { value };
    let front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a;
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..STEPS {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        fraction *= d * c;
        if fabs(d * c - 1.0) < 1e-15 {
            break;
        }
    }
    (front * fraction).clamp(0.0, 1.0)
}

/// Least squares of `values` on `rows`, of which the first column is 1: the first coefficient and
/// its variance. `None` where the columns depend on each other.
fn intercept(rows: &[Vec<f64>], values: &[f64]) -> Option<(f64, f64)> {
    let size = rows.first()?.len();
    // Each column to its greatest member, so that numbers of any unit are as far from singular.
    let scale: Vec<f64> =
        (0..size).map(|j| rows.iter().map(|row| fabs(row[j])).fold(0.0, f64::max)).collect();
    let scaled = |row: &[f64], j: usize| row[j] / scale[j];
    // The normal equations, with the identity and the right-hand side beside them.
    let mut system = vec![vec![0.0; 2 * size + 1]; size];
    for (i, equation) in system.iter_mut().enumerate() {
        for (row, value) in rows.iter().zip(values) {
            for (j, entry) in equation.iter_mut().enumerate().take(size) {
                *entry += scaled(row, i) * scaled(row, j);
            }
            equation[2 * size] += scaled(row, i) * value;
        }
        equation[size + i] = 1.0;
    }
    for pivot in 0..size {
        let largest = (pivot..size)
            .max_by(|&a, &b| fabs(system[a][pivot]).total_cmp(&fabs(system[b][pivot])))?;
        system.swap(pivot, largest);
        let divisor = system[pivot][pivot];
        if fabs(divisor) < 1e-9 * rows.len() as f64 {
            return None;
        }
        for entry in &mut system[pivot] {
            *entry /= divisor;
        }
        let of_pivot = system[pivot].clone();
        for (i, equation) in system.iter_mut().enumerate() {
            let factor = equation[pivot];
            if i != pivot {
                for (entry, pivotal) in equation.iter_mut().zip(&of_pivot) {
                    *entry -= factor * pivotal;
                }
            }
        }
    }
    let coefficients: Vec<f64> = system.iter().map(|equation| equation[2 * size]).collect();
    let unexplained: f64 = rows
        .iter()
        .zip(values)
        .map(|(row, value)| {
            let fitted: f64 = (0..size).map(|j| coefficients[j] * scaled(row, j)).sum();
            (value - fitted) * (value - fitted)
        })
        .sum();
    let spread = unexplained / (rows.len() - size) as f64;
    Some((coefficients[0], spread * system[0][size]))
}

/// The mean and the sample variance of at least two finite values, in two passes.
fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    (mean, squares / (n - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(found: f64, expected: f64, tolerance: f64, what: &str) {
        assert!(fabs(found - expected) <= tolerance, "{what}: {found}, expected {expected}");
    }

    #[test]
    fn chi_square_is_that_of_the_tables() {
        // Abramowitz and Stegun, table 26.8, and two degrees of freedom in closed form.
        for (value, degrees, expected) in [
            (3.841_458_821, 1.0, 0.05),
            (18.307_038_05, 10.0, 0.05),
            (124.342_113_4, 100.0, 0.05),
            (70.064_894_93, 100.0, 0.99),
            (0.0, 5.0, 1.0),
        ] {
            assert_near(chi_square_p(value, degrees), expected, 1e-9, "chi-square");
        }
        for value in [0.1, 1.0, 2.0, 5.0, 40.0] {
            assert_near(chi_square_p(value, 2.0), exp(-value / 2.0), 1e-12, "two degrees");
        }
        // Many members: about half of all fair outcomes are less even than the expected one.
        assert_near(chi_square_p(99_999.0, 99_999.0), 0.5, 1e-3, "many degrees");
        assert_near(chi_square_p(1e6, 99_999.0), 0.0, 1e-12, "far out");
    }

    /// The printed tables (Abramowitz and Stegun, table 26.10) carry three digits; these are the
    /// same entries carried on with mpmath's incomplete beta function.
    #[test]
    fn t_quantiles_are_those_of_the_tables() {
        for (p, df, expected) in [
            (0.975, 1.0, 12.706_204_736),
            (0.975, 2.0, 4.302_652_730),
            (0.975, 3.0, 3.182_446_305),
            (0.975, 4.0, 2.776_445_105),
            (0.975, 9.0, 2.262_157_163),
            (0.975, 31.0, 2.039_513_446),
            (0.975, 100.0, 1.983_971_519),
            (0.95, 1.0, 6.313_751_515),
            (0.995, 5.0, 4.032_142_984),
            (0.9995, 10.0, 4.586_893_859),
        ] {
            assert_near(t_quantile(p, df), expected, 1e-6, &format!("t({p}, {df})"));
        }
        assert_near(t_quantile(0.975, 1e7), 1.959_964_2, 1e-6, "towards the normal");
        assert_near(t_quantile(0.5, 7.0), 0.0, 1e-12, "the median");
    }

    #[test]
    fn an_estimate_is_the_mean_with_students_interval() {
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        // Standard deviation sqrt(5/3), t(0.975, 3) = 3.182446.
        let half_width = 3.182_446_305 * sqrt(5.0 / 3.0) / 2.0;
        assert_near(estimate.mean, 2.5, 0.0, "mean");
        assert_near(estimate.low, 2.5 - half_width, 1e-8, "low");
        assert_near(estimate.high, 2.5 + half_width, 1e-8, "high");
        assert!(!estimate.exact);
        assert!(estimate.few());
    }

    #[test]
    fn controls_take_out_what_they_explain_and_leave_the_expectation() {
        use crate::kernel::rng::Seed;
        // y = 5 + 3 a - 2 b + noise of a tenth, with E a = E b = 0: nearly all is explained.
        let sample = |seed: u64| {
            let mut rng = Seed(seed).stream("controls", "");
            let mut centred = || rng.unit() - 0.5;
            let rows: Vec<[f64; 3]> = (0..40).map(|_| [centred(), centred(), centred()]).collect();
            let values: Vec<f64> =
                rows.iter().map(|[a, b, noise]| 5.0 + 3.0 * a - 2.0 * b + 0.1 * noise).collect();
            let controls: Vec<Vec<f64>> = rows.iter().map(|&[a, b, _]| vec![a, b]).collect();
            (values, controls)
        };
        let (values, controls) = sample(0);
        let (plain, controlled) =
            (Estimate::of(&values).unwrap(), Estimate::controlled(&values, &controls).unwrap());
        let width = |estimate: &Estimate| estimate.high - estimate.low;
        assert!(width(&controlled) < width(&plain) / 20.0, "{plain:?} {controlled:?}");
        // In nineteen of twenty samples the interval holds what is true.
        let held = (0..1000).filter(|&seed| {
            let (values, controls) = sample(seed);
            Estimate::controlled(&values, &controls).unwrap().holds(5.0)
        });
        let held = held.count();
        assert!((930..=970).contains(&held), "{held} of 1000 intervals hold it");
    }

    #[test]
    fn controls_that_say_nothing_leave_the_plain_mean() {
        let values: Vec<f64> = (0..20).map(f64::from).collect();
        let plain = Estimate::of(&values);
        assert_eq!(Estimate::controlled(&values, &vec![vec![0.0]; 20]), plain);
        // The same control twice: neither can be told from the other.
        let twice: Vec<Vec<f64>> = values.iter().map(|value| vec![value * 0.5 - 4.0; 2]).collect();
        assert_eq!(Estimate::controlled(&values, &twice), plain);
        let few = Estimate::controlled(&values[..5], &[1.0, 2.0, 0.5, 3.0, 2.5].map(|x| vec![x]));
        assert_eq!(few, Estimate::of(&values[..5]));
    }

    #[test]
    fn what_comes_in_clusters_has_the_wider_interval() {
        // 10 runs of 100 trials, 50 successes in all: as even as they can be, and in two runs.
        let even = [0.05; 10];
        let uneven = [0.25, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let (low, high) = clustered_binomial_interval(&even, 1000, 0.95);
        let (exact_low, exact_high) = binomial_interval(50, 1000);
        assert_near(low, exact_low, 1e-12, "low");
        assert_near(high, exact_high, 1e-12, "high");
        let (wide_low, wide_high) = clustered_binomial_interval(&uneven, 1000, 0.95);
        assert!(wide_low < low / 2.0 && high * 1.5 < wide_high, "{wide_low} to {wide_high}");
        assert_near(
            clustered_binomial_interval(&[0.0; 4], 400, 0.95).1,
            binomial_interval(0, 400).1,
            1e-12,
            "none of 400",
        );
    }

    #[test]
    fn equal_values_are_exact_and_one_value_has_no_interval() {
        let exact = Estimate::of(&[0.1; 30]).unwrap();
        assert_eq!((exact.mean, exact.low, exact.high, exact.exact), (0.1, 0.1, 0.1, true));
        assert!(!exact.few());
        let single = Estimate::of(&[7.0]).unwrap();
        assert!(!single.exact && !single.has_interval());
        assert!(Estimate::of(&[0.0, -0.0]).unwrap().exact);
    }

    #[test]
    fn what_is_no_number_is_left_out_and_the_infinite_stays_in_sight() {
        assert_eq!(Estimate::of(&[]), None);
        assert_eq!(Estimate::of(&[f64::NAN]), None);
        assert_eq!(Estimate::of(&[f64::NAN, 3.0]).unwrap().n, 1);
        let endless = Estimate::of(&[1.0, f64::INFINITY]).unwrap();
        assert_eq!((endless.mean, endless.low), (f64::INFINITY, 1.0));
        assert_eq!(Estimate::of(&[f64::NEG_INFINITY, f64::INFINITY]), None);
        assert!(Estimate::of(&[f64::INFINITY; 2]).unwrap().exact);
    }

    #[test]
    fn the_interval_holds_the_truth_in_95_of_100_experiments() {
        let mut rng = crate::kernel::rng::Seed(1).stream("test", "coverage");
        let mut held = 0;
        for _ in 0..4000 {
            let values: Vec<f64> = (0..8).map(|_| 3.0 + rng.normal()).collect();
            held += u32::from(Estimate::of(&values).unwrap().holds(3.0));
        }
        // 3800 expected; four standard deviations are 55.
        assert!((3745..=3855).contains(&held), "{held} of 4000");
    }

    #[test]
    fn a_ratio_is_paired_and_lives_on_the_log_scale() {
        let twice = ratio(&[2.0, 4.0, 8.0], &[1.0, 2.0, 4.0]).unwrap();
        assert!(twice.estimate.exact);
        assert_near(twice.estimate.mean, 2.0, 1e-12, "ratio");
        assert_near(twice.p, 0.0, 0.0, "p");
        let spread = ratio(&[1.0, 4.0], &[1.0, 1.0]).unwrap();
        assert_near(spread.estimate.mean, 2.0, 1e-12, "geometric mean");
        assert_near(spread.estimate.low * spread.estimate.high, 4.0, 1e-9, "symmetric in the log");
        assert_eq!(ratio(&[0.0, 1.0], &[1.0, 1.0]), None);
        assert_eq!(ratio(&[1.0], &[1.0, 1.0]), None);
        assert_eq!(ratio(&[f64::INFINITY], &[1.0]), None);
    }

    #[test]
    fn rounding_is_not_a_difference() {
        let same = difference(&[0.1 + 0.2, 1.0], &[0.3, 1.0]).unwrap();
        assert!(same.estimate.exact);
        assert_near(same.p, 1.0, 0.0, "p");
    }

    /// Student's sleep data (1908), paired: t = -4.0621 on 9 degrees of freedom, p = 0.002833.
    #[test]
    fn the_paired_test_agrees_with_students_own_example() {
        let first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        let found = difference(&first, &second).unwrap();
        assert_near(found.estimate.mean, -1.58, 1e-12, "mean");
        assert_near(found.estimate.low, -2.459_886, 1e-6, "low");
        assert_near(found.estimate.high, -0.700_114, 1e-6, "high");
        assert_near(found.p, 0.002_833, 1e-6, "p");
    }

    #[test]
    fn holm_multiplies_by_what_is_left_and_never_falls() {
        assert_eq!(holm(&[0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02]);
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert_eq!(holm(&[]), Vec::<f64>::new());
    }

    /// 0 of 10: 1 - 0.025^(1/10). 1 of 10 and 5 of 10: the tables of Clopper and Pearson.
    #[test]
    fn binomial_intervals_are_clopper_and_pearsons() {
        for (k, n, low, high) in [
            (0, 10, 0.0, 0.308_497_1),
            (10, 10, 0.691_502_9, 1.0),
            (1, 10, 0.002_528_579, 0.445_016_1),
            (5, 10, 0.187_086, 0.812_914),
            (0, 0, 0.0, 1.0),
        ] {
            let found = binomial_interval(k, n);
            assert_near(found.0, low, 1e-6, &format!("low of {k} in {n}"));
            assert_near(found.1, high, 1e-6, &format!("high of {k} in {n}"));
        }
        let large = binomial_interval(500_000, 1_000_000);
        assert_near(large.0, 0.499_019_6, 1e-6, "a large sample");
    }

    #[test]
    fn the_warm_up_is_where_the_transient_ends() {
        let ripple = |i: usize| if i.is_multiple_of(2) { 0.1 } else { -0.1 };
        let settling: Vec<f64> =
            (0..200).map(|i| if i < 30 { 30.0 - i as f64 } else { 0.0 } + ripple(i)).collect();
        let found = warm_up(&settling).unwrap();
        assert!((25..=35).contains(&found), "{found}");
        assert_eq!(warm_up(&[5.0; 100]), Some(0));
    }

    #[test]
    fn what_never_settles_has_no_warm_up() {
        let growing: Vec<f64> = (0..200).map(|i| f64::from(i) * f64::from(i)).collect();
        assert_eq!(warm_up(&growing), None);
        assert_eq!(warm_up(&[1.0; 9]), None);
        assert_eq!(warm_up(&[f64::NAN; 100]), None);
    }

    #[test]
    fn chance_in_a_short_steady_run_is_not_taken_for_drift() {
        let mut rng = crate::kernel::rng::Seed(3).stream("steady", "");
        let mut seen = 0;
        for _ in 0..1000 {
            let steady: Vec<f64> = (0..65).map(|_| rng.unit()).collect();
            seen += u32::from(warm_up(&steady).is_some());
        }
        assert!(980 <= seen, "{seen} of 1000 steady runs were seen to be steady");
    }
}
