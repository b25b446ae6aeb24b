// From the skeleton in index.html to the page: the composer is there at once, the engine when it is ready.
import { effect } from "@preact/signals";
import { render } from "preact";
import { startKeeping } from "./app/data.ts";
import { startDropping } from "./app/files.ts";
import { stopAndWait } from "./app/chat.ts";
import { boot, giveUp } from "./app/models.ts";
import { startPreferences } from "./app/preferences.ts";
import { startCounting } from "./app/privacy.ts";
import { draft, panelOpen, state } from "./app/signals.ts";
import { startOffline, startSurroundings } from "./app/surroundings.ts";
import { onTaken } from "./app/tabs.ts";
import "./style/base.css";
import "./style/page.css";
import "./style/conversation.css";
import "./style/dialogs.css";
import "./style/touch.css";
import { App } from "./views/app.tsx";

startPreferences();
startCounting();
panelOpen.value = matchMedia("(min-width: 1100px)").matches;
effect(() => {
  document.body.dataset.state = state.value.name;
});
const root = document.getElementById("app");
if (root) {
  // What was typed into the skeleton before this script was here goes on in the composer.
  draft.value = root.querySelector("textarea")?.value ?? "";
  root.replaceChildren();
  render(<App />, root);
}
startSurroundings();
startKeeping();
startDropping();
startOffline();
onTaken(async () => {
  await stopAndWait();
  await giveUp();
});
void boot();
