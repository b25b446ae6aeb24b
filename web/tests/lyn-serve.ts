// `lyn` as tests run it: the program that `cargo test --workspace` has built; `lyn serve` on a software adapter, with the built page.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { repository } from "./fixtures.js";

export interface LynServer {
  /** With a slash at its end; the page is there. */
  url: string;
  stop(): Promise<void>;
}

const target = process.env["CARGO_TARGET_DIR"] ?? join(repository, "target");
const program = join(target, "debug/lyn");
/** Nothing of this machine's settings. The pass of the adapter's self-check is remembered there, as for the server's other tests. */
const surroundings = () => {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith("LYN_") && name !== "DEEPSEEK_API_KEY");
  return { ...Object.fromEntries(own), NODEVICE_SELECT: "1", XDG_CONFIG_HOME: "/nonexistent", XDG_CACHE_HOME: join(target, "tmp") };
};

/** Builds the program. Of the whole workspace, so that features, and with them what is compiled, are those of `cargo test --workspace`. */
export function buildServer(): void {
  const words = ["test", "--locked", "--quiet", "--workspace", "--test", "server", "--no-run"];
  execFileSync("cargo", words, { cwd: repository, stdio: "pipe" });
}

/** Runs the program to its end. */
export function run(...words: string[]): void {
  execFileSync(program, words, { env: surroundings(), stdio: "pipe" });
}

/** Starts a server of `stories`, and waits until it has its model. */
export async function serve(...options: string[]): Promise<LynServer> {
  const child = spawn(
    program,
    ["serve", "--port", "0", "--json", "--device", "software", "--context", "1024", "--page", join(repository, "web/dist"), ...options],
    { env: surroundings(), stdio: ["ignore", "pipe", "pipe"] },
  );
  let said = "";
  child.stderr.on("data", (text: Buffer) => (said += text.toString()));
  const stop = () => end(child);
  try {
    const url = await Promise.race([address(child), once(child, "exit").then(() => Promise.reject(new Error(said)))]);
    while (!(await fetch(new URL("health", url))).ok) await pause(100);
    return { url, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function address(child: ChildProcess): Promise<string> {
  if (!child.stdout) throw new Error("stdout is piped");
  for await (const line of createInterface(child.stdout)) {
    // Later lines are of no interest, but somebody must read them.
    child.stdout.resume();
    return `${(JSON.parse(line) as { url: string }).url}/`;
  }
  throw new Error("lyn serve ended without an address");
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}
