//! Many things at a time, each on one thread.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::ThreadPoolBuilder;

/// Does all items on so many threads; the results are in the order of the items. Each item has a pool of one thread, so that its results are the same to the bit whatever
/// else runs.
///
/// # Errors
/// The first that an item ends with. The other threads end with the items that they are at.
pub fn on_threads<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, Box<dyn Error + Send + Sync>> + Sync,
) -> Result<Vec<R>, Box<dyn Error>> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let pool = ThreadPoolBuilder::new().num_threads(1).build()?;
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { return Ok(done) };
            done.push((number, pool.install(|| work(item))?));
        }
    };
    let results: Vec<Result<_, Box<dyn Error + Send + Sync>>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err("a thread failed".into()))).collect()
    });
    let mut all = Vec::new();
    for result in results {
        all.extend(result.map_err(|error| -> Box<dyn Error> { error })?);
    }
    all.sort_by_key(|(number, _)| *number);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::on_threads;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<u64> = (0..40).rev().collect();
        let slow = |item: &u64| {
            std::thread::sleep(std::time::Duration::from_micros(50 * (item % 7)));
            Ok(*item)
        };
        assert_eq!(on_threads(4, &items, slow).unwrap(), items);
    }
}
