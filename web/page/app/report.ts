// A report for whoever helps: the problem, the browser, the adapter. Nothing of what was written is in it.
import type { Problem } from "../client.ts";
import { adapter, model, plan, selfCheck, state, wish } from "./signals.ts";

export function report(problem: Problem | null): string {
  return JSON.stringify(
    {
      schema: "lyn.report/1",
      problem,
      state: state.peek().name,
      transport: wish.peek().source === "server" ? "server" : "tab",
      model: model.peek()?.id ?? wish.peek().id,
      plan: plan.peek(),
      adapter: adapter.peek(),
      selfCheck: selfCheck.peek(),
      browser: navigator.userAgent,
      secure: isSecureContext,
      isolated: crossOriginIsolated,
      framed: window !== window.parent,
      at: new Date().toISOString(),
    },
    null,
    2,
  );
}
