//! Growth of a cost with size.

/// The cost of one more unit between each two consecutive sizes.
pub fn slopes(sizes: &[usize], costs: &[f64]) -> Vec<f64> {
    let pairs = sizes.windows(2).zip(costs.windows(2));
    pairs
        .filter_map(|(size, cost)| match (size, cost) {
            ([n, m], [a, b]) => Some((b - a) / (*m as f64 - *n as f64)),
            _ => None,
        })
        .collect()
}

/// The exponent k of `a + b·n^k` through three costs: 1 for linear growth, 2 for quadratic growth. `None` for fewer
/// sizes or if the cost does not grow.
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
