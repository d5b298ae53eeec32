//! How a cost grows with size.

/// What one more of something costs, between each two sizes that follow each other.
pub fn slopes(sizes: &[usize], costs: &[f64]) -> Vec<f64> {
    let pairs = sizes.windows(2).zip(costs.windows(2));
    pairs
        .filter_map(|(size, cost)| match (size, cost) {
            ([n, m], [a, b]) => Some((b - a) / (*m as f64 - *n as f64)),
            _ => None,
        })
        .collect()
}

/// The exponent k for which `a + b·n^k` goes through three costs: 1 where the cost grows linearly, 2 where it grows with
/// the square. `None` for fewer sizes, and where the cost does not grow.
pub fn exponent(sizes: &[usize], costs: &[f64]) -> Option<f64> {
    let (&[n1, n2, n3], &[c1, c2, c3]) = (sizes, costs) else { return None };
    let wanted = (c3 - c1) / (c2 - c1);
    let ratio = |k: f64| {
        let power = |n: usize| (n as f64).powf(k);
        (power(n3) - power(n1)) / (power(n2) - power(n1))
    };
    if c2 <= c1 || !(ratio(LEAST)..ratio(MOST)).contains(&wanted) {
        return None;
    }
    let (mut low, mut high) = (LEAST, MOST);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if ratio(middle) < wanted { low = middle } else { high = middle }
    }
    Some(low)
}

const LEAST: f64 = 0.05;
const MOST: f64 = 4.0;
