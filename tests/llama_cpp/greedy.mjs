// node greedy.mjs FILE TEXT COUNT: the ids that llama.cpp chooses after a text, as JSON.
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const [file, text, count] = process.argv.slice(2);
const llama = await getLlama({ build: "never", gpu: false, progressLogs: false, logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath: file, gpuLayers: 0 });
const context = await model.createContext({ contextSize: 256, threads: 1 });
const ids = [model.tokens.bos, ...model.tokenize(text)];
const chosen = [];
for await (const id of context.getSequence().evaluate(ids, { temperature: 0 })) {
  chosen.push(id);
  if (chosen.length >= Number(count)) break;
}
console.log(JSON.stringify({ ids: chosen, text: model.detokenize(chosen) }));
await llama.dispose();
