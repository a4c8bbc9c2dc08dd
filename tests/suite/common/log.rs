use std::sync::{Mutex, Once};

/// Everything logged so far; messages name their values, by which a test finds its own.
pub fn logged() -> &'static Mutex<Vec<String>> {
    struct Keeper;
    static MESSAGES: Mutex<Vec<String>> = Mutex::new(Vec::new());
    impl log::Log for Keeper {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            if record.target().starts_with("miadam") {
                MESSAGES.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
            }
        }
        fn flush(&self) {}
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Keeper).unwrap();
        log::set_max_level(log::LevelFilter::Info);
    });
    &MESSAGES
}
