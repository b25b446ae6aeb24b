// How long something has been going on, so that slow and stuck look different.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Format } from "../text/format.ts";

interface Props {
  /** As `performance.now()`. */
  since: number;
  format: Format;
  render: (time: string) => string;
}

export function Clock({ since, format, render }: Props) {
  const now = useSignal(performance.now());
  useEffect(() => {
    const timer = setInterval(() => (now.value = performance.now()), 100);
    return () => clearInterval(timer);
  }, [since]);
  return <span>{render(format.duration(now.value - since))}</span>;
}
