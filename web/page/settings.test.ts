import assert from "node:assert/strict";
import { test } from "node:test";
import {
  asCommand,
  asCurl,
  asScript,
  DEFAULTS,
  fromFragment,
  readNumber,
  toFragment,
  type Settings,
} from "./settings.ts";

const all: Settings = {
  system: "Be brief & kind",
  thinking: true,
  temperature: 0.7,
  topP: 0.9,
  maxTokens: 100,
  seed: 7,
  stop: ["\n\n", "END"],
  context: 4096,
  attention: "dense",
  indexTopk: 32,
};

test("a link says everything, and the prompt only if asked", () => {
  assert.deepEqual(fromFragment(toFragment("hf:org/name", all, null)), {
    model: "hf:org/name",
    settings: all,
    prompt: "",
  });
  assert.equal(fromFragment(toFragment("stories", DEFAULTS, "Hi?"))?.prompt, "Hi?");
});

test("a link from anywhere stays within bounds", () => {
  const read = fromFragment("#m=stories&t=99&p=-3&n=1e99&s=x&c=1&k=0&att=evil");
  assert.deepEqual(read?.settings, {
    ...DEFAULTS,
    temperature: 2,
    topP: 0.01,
    maxTokens: 1_000_000,
    context: 64,
    indexTopk: 1,
  });
  for (const bad of [
    "",
    "#",
    "#t=1",
    "#m=https://evil.example/",
    "#m=hf:../x",
    "#m=javascript:alert(1)",
    "#m=hf:a/b/c",
    "#m=hf:a/b:c",
    "#m=hf:a/b:../c.gguf",
  ])
    assert.equal(fromFragment(bad), null, bad);
  for (const good of ["hf:a/b@v1", "hf:a/b:c.gguf", "hf:a/b@v1:Q4_K_M/c-00001-of-00002.gguf"])
    assert.equal(fromFragment(`#m=${good}`)?.model, good);
});

test("numbers are read with either decimal mark", () => {
  assert.equal(readNumber("temperature", "0,5"), 0.5);
  assert.equal(readNumber("maxTokens", "12.6"), 13);
  assert.equal(readNumber("seed", " "), null);
});

test("what is copied survives a shell", () => {
  assert.equal(asCommand("stories", DEFAULTS, "it's"), `lyn generate 'it'\\''s'`);
  assert.match(
    asCommand("org/name", all, "x"),
    /^lyn generate -m org\/name --system 'Be brief & kind' --thinking on -t 0.7 .* --index-topk 32 x$/s,
  );
  const body = /-d '(.*)'$/s.exec(asCurl("stories", all, "Hi"))?.[1];
  assert.deepEqual(JSON.parse(body ?? "").stop, all.stop);
  assert.match(asScript("stories", all, "Hi"), /"attention":"dense"/);
  const elsewhere = asCurl("stories", all, "Hi", { base: new URL("https://example.org/lyn/"), keyed: true });
  assert.match(elsewhere, /^curl -N https:\/\/example\.org\/lyn\/v1\/chat\/completions -H "Authorization: Bearer \$LYN_API_KEY" -H /);
  assert.match(asCurl("stories", all, "Hi"), /^curl -N http:\/\/127\.0\.0\.1:8080\/v1\/chat\/completions -H/);
});
