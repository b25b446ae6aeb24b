// A part of a dialog, with its heading.
import type { ComponentChildren, VNode } from "preact";

export function Section(props: { title: string; children: ComponentChildren }): VNode {
  return (
    <section class="settings" aria-label={props.title}>
      <h3>{props.title}</h3>
      {props.children}
    </section>
  );
}
