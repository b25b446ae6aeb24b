//! Fields that the bodies of chats and of texts share. The strict reader of bodies has no `flatten`, so they are written into
//! both.

/// Declares the body of a request by its own fields.
macro_rules! body {
    ($(#[$attribute:meta])* pub struct $name:ident { $($own:tt)* }) => {
        $(#[$attribute])*
        pub struct $name {
            $($own)*
            /// Echoed in the answer; what it stands for chooses the mode of a chat where nothing else does.
            pub model: Option<String>,
            /// 0 to 2.
            pub temperature: Option<f64>,
            /// Above 0, up to 1.
            pub top_p: Option<f64>,
            /// Only the k most probable; 0 and −1 mean all.
            pub top_k: Option<i64>,
            /// 0 to 1.
            pub min_p: Option<f64>,
            /// Any integer of 64 bits; absent: drawn.
            pub seed: Option<Number>,
            /// Texts that end the answer, 16 at most.
            pub stop: Option<Stop>,
            /// Ids that end the answer, 16 at most.
            pub stop_token_ids: Option<Vec<u32>>,
            /// Tokens before which no id ends the answer.
            pub min_tokens: Option<u32>,
            /// Do not let the model end its answer.
            pub ignore_eos: Option<bool>,
            /// −2 to 2.
            pub presence_penalty: Option<f64>,
            /// −2 to 2.
            pub frequency_penalty: Option<f64>,
            /// 0.01 to 10.
            pub repetition_penalty: Option<f64>,
            /// −100 to 100, by id; keys that are no ids are ignored.
            pub logit_bias: Option<BTreeMap<String, f64>>,
            /// vLLM's: report log probabilities of the prompt, and of this many of the most probable tokens, 20 at most.
            pub prompt_logprobs: Option<i64>,
            /// vLLM's: report the ids of prompt and answer.
            pub return_token_ids: Option<bool>,
            /// llama.cpp's: report in a stream how far the prompt is read.
            pub return_progress: Option<bool>,
            /// Answer by chunks.
            pub stream: Option<bool>,
            /// How to stream.
            pub stream_options: Option<StreamOptions>,
            /// Answers to each prompt, 8 at most.
            pub n: Option<i64>,
            /// Form of the answer.
            pub response_format: Option<ResponseFormat>,
            /// vLLM's ways to ask for a form.
            pub structured_outputs: Option<StructuredOutputs>,
            /// Its older name for a schema.
            pub guided_json: Option<Value>,
            /// And for a regular expression.
            pub guided_regex: Option<String>,
            /// And for answers of which one is given.
            pub guided_choice: Option<Vec<String>>,
            /// And for a grammar.
            pub guided_grammar: Option<String>,
            /// llama.cpp's name for a schema.
            pub json_schema: Option<Value>,
            /// And for a grammar.
            pub grammar: Option<String>,
            /// Whose prompts may share what is cached: 1 to 512 of A-Z, a-z, 0-9, _ and -.
            pub user_id: Option<String>,
            /// Not part of the body: `checked` fills it in.
            #[serde(skip)]
            pub given: Given,
        }

        impl $name {
            /// Names of fields that mean nothing here, 32 at most, those within messages and tools left out.
            pub fn ignored(&self) -> &[String] {
                &self.given.ignored
            }

            /// Whether the answer is to come by chunks.
            pub fn is_stream(&self) -> bool {
                self.stream == Some(true)
            }

            /// Whether counts come in a chunk of their own.
            pub(super) fn has_usage_apart(&self) -> bool {
                self.is_stream() && self.stream_options.and_then(|options| options.include_usage) == Some(true)
            }

            /// What is to be told beside the answer.
            pub(super) fn wishes(&self) -> Wishes {
                Wishes {
                    token_ids: self.return_token_ids == Some(true),
                    progress: self.return_progress == Some(true),
                    prompt_logprobs: self.prompt_logprobs.and_then(|count| usize::try_from(count).ok()),
                    streams: self.is_stream(),
                }
            }

            /// The fields of sampling, with log probabilities of so many of the most probable tokens.
            fn sampling_with(&self, logprobs: Option<u32>) -> Sampling<'_> {
                Sampling {
                    temperature: self.temperature,
                    top_p: self.top_p,
                    top_k: self.top_k,
                    min_p: self.min_p,
                    presence_penalty: self.presence_penalty,
                    frequency_penalty: self.frequency_penalty,
                    repetition_penalty: self.repetition_penalty,
                    logit_bias: self.logit_bias.as_ref(),
                    seed: self.seed.as_ref(),
                    stop: self.stop.as_ref(),
                    stop_token_ids: self.stop_token_ids.as_ref(),
                    n: self.n,
                    logprobs,
                }
            }

            /// The fields that ask for a form.
            fn form_fields(&self) -> FormFields<'_> {
                FormFields {
                    response_format: self.response_format.as_ref(),
                    structured_outputs: self.structured_outputs.as_ref(),
                    guided_json: self.guided_json.as_ref(),
                    guided_regex: self.guided_regex.as_deref(),
                    guided_choice: self.guided_choice.as_deref(),
                    guided_grammar: self.guided_grammar.as_deref(),
                    json_schema: self.json_schema.as_ref(),
                    grammar: self.grammar.as_deref(),
                }
            }
        }
    };
}
pub(super) use body;
