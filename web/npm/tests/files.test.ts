// Picked files and folders, and errors on their way through messages.

import assert from "node:assert/strict";
import { test } from "node:test";
import { LynError, aborted } from "../errors.js";
import { filesSource as openFiles } from "../files.js";
import { topFiles } from "../picked.js";
import { tools } from "./bench.js";
import { FakeDirectory } from "./opfs.js";

const filesSource = (picked: Parameters<typeof openFiles>[0]) => openFiles(picked, tools.gguf);
const file = (name: string, text = "{}", folder?: string) => {
  const made = new File([text], name);
  return Object.defineProperty(made, "webkitRelativePath", { value: folder ? `${folder}/${name}` : "" });
};

test("a picked folder loses its top level, inner folders do not count", async () => {
  const files = [
    file("config.json", "{}", "Model"),
    file("model.safetensors", "abc", "Model"),
    file("config.json", "no", "Model/original"),
  ];
  const { id, source } = await filesSource(files);
  assert.equal(id, "Model");
  assert.equal(await source.size("config.json"), 2);
  assert.equal(Buffer.from(await source.read("model.safetensors", 1, 2)).toString(), "bc");
  // A worker's copies have no paths; those that the page kept are plain files there.
  assert.equal(topFiles(files).length, 2);
});

test("missing parts are named", async () => {
  const index = JSON.stringify({ weight_map: { a: "one.safetensors", b: "two.safetensors" } });
  const picked = [file("model.safetensors.index.json", index), file("one.safetensors")];
  await assert.rejects(filesSource(picked), {
    code: "model_not_found",
    message: "files lacks config.json, two.safetensors",
    details: { missing: ["config.json", "two.safetensors"] },
  });
  await assert.rejects(filesSource([file("config.json"), file("model.bin")]), (error: LynError) =>
    error.help.some((line) => line.includes("PyTorch")),
  );
  await assert.rejects(filesSource([file("a"), file("a")]), { code: "bad_request" });
});

test("a GGUF file is a model, with all its parts and with what lies beside it", async () => {
  const beside = [file("config.json"), file("tokenizer.json"), file("mmproj-F16.gguf")];
  const { id, source } = await filesSource([file("model.gguf", "GGUF"), ...beside]);
  assert.deepEqual([id, source.gguf, await source.size("model.gguf")], ["model.gguf", "model.gguf", 4]);
  const folder = await filesSource([file("model.gguf", "GGUF", "Model")]);
  assert.deepEqual([folder.id, folder.source.gguf], ["Model", "model.gguf"]);
  const whole = await filesSource(["config.json", "model.safetensors", "model.gguf"].map((name) => file(name)));
  assert.equal(whole.source.gguf, undefined);
  const parts = ["m-00002-of-00003.gguf", "m-00001-of-00003.gguf", "m-00003-of-00003.gguf"].map((name) => file(name));
  assert.equal((await filesSource(parts)).source.gguf, "m-00001-of-00003.gguf");
  await assert.rejects(filesSource(parts.slice(0, 1)), {
    code: "model_not_found",
    message: "files lacks m-00001-of-00003.gguf, m-00003-of-00003.gguf",
    details: { missing: ["m-00001-of-00003.gguf", "m-00003-of-00003.gguf"] },
  });
  await assert.rejects(filesSource([file("a-Q4_0.gguf"), file("a-Q8_0.gguf")]), (error: LynError) => {
    assert.deepEqual([error.code, error.message], ["bad_request", "files: 2 GGUF models"]);
    return /a-Q4_0\.gguf, a-Q8_0\.gguf/.test(error.help[0] ?? "");
  });
});

test("a folder handle is read in place", async () => {
  const folder = new FakeDirectory("checkpoint");
  for (const name of ["config.json", "model.safetensors"]) {
    const made = await folder.getFileHandle(name, { create: true });
    made.bytes = new TextEncoder().encode(name);
  }
  await folder.getDirectoryHandle("original", { create: true });
  const { id, source } = await filesSource(folder.handle);
  assert.deepEqual(
    [id, await source.size("original"), await source.size("config.json")],
    ["checkpoint", undefined, 11],
  );
  assert.equal(Buffer.from(await source.read("config.json", 0, 6)).toString(), "config");
});

test("errors survive a structured clone as plain objects", () => {
  const error = new LynError("quota", "no room", { help: ["make some"], details: { quota: 5 } });
  const back = LynError.from(structuredClone(error.toJSON()));
  assert.ok(back instanceof LynError && back instanceof Error);
  assert.deepEqual(back.toJSON(), error.toJSON());
  assert.equal(LynError.from(error), error);
  assert.equal(`${back}`, "LynError: no room");
});

test("whatever is thrown becomes a sentence with a code", () => {
  class GPUDeviceLostInfo {}
  const of = (thrown: unknown) => [LynError.from(thrown).code, LynError.from(thrown).message];
  assert.deepEqual(of("text"), ["internal", "text"]);
  assert.deepEqual(of(undefined), ["internal", "undefined"]);
  assert.deepEqual(of(new TypeError("wrong")), ["internal", "wrong"]);
  assert.deepEqual(of(new GPUDeviceLostInfo()), ["internal", "GPUDeviceLostInfo"]);
  assert.deepEqual(of({}), ["internal", "an error without a message"]);
  assert.deepEqual(of(new DOMException("stopped", "AbortError")), ["cancelled", "stopped"]);
  assert.deepEqual(of(new DOMException("full", "QuotaExceededError")), ["quota", "full"]);
  assert.deepEqual(of({ code: "missing_tensor", message: "no x", help: "not a list" }), ["missing_tensor", "no x"]);
  assert.equal(LynError.from(new Error("x"), "io").code, "io");
  assert.throws(() => aborted(AbortSignal.abort(new Error("mine"))), /^Error: mine$/);
  aborted(undefined);
});
