//! The shortest program: a story from the embedded model.

use lyn::generate::{Event, Request, SamplingParams};
use lyn::{Engine, Options, models, platform};

fn main() -> lyn::Result<()> {
    platform::block_on(async {
        let mut engine = Engine::load(models::stories(), &Options::default(), &mut |_| true).await?;
        let prompt = engine.raw_prompt("Once upon a time")?;
        let sampling = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
        let request = Request { sampling, max_tokens: Some(64), ..Request::new(prompt) };
        let mut generation = engine.generate(request)?;
        let mut text = String::new();
        while let Some(event) = generation.next().await? {
            match event {
                Event::Text { text: piece, .. } => text.push_str(&piece),
                Event::End { timings, .. } => tracing::info!(?timings, "done"),
                _ => {}
            }
        }
        assert!(text.contains("little girl"), "{text}");
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), "{text}");
        Ok(())
    })
}
