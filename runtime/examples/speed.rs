//! temp
use lyn::inspect::bench;
use lyn::{Attention, Engine, Options, models, platform};
fn main() -> lyn::Result<()> {
    platform::block_on(async {
        for attention in [Attention::Sparse, Attention::Dense] {
            let options = Options { attention, sequences: 2, ..Options::default() };
            let mut engine = Engine::load(models::stories(), &options, &mut |_| true).await?;
            let options = bench::Options { prompts: vec![512], generate: vec![64], depths: vec![0, 1024], repetitions: 3 };
            let report = bench::run(&mut engine, &options).await?;
            println!("{report:#?}");
        }
        Ok(())
    })
}
