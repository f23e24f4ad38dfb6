// Shows the real window with staged data: /gallery/?scene=NAME. Without a name
// it lists the scenes. For development and pictures; never part of a build.

import { mount } from "svelte";
import App from "../src/App.svelte";
import "../src/app.css";
import { scenes } from "./scenes";
import { StagedBridge } from "./staged-bridge";

const target = document.getElementById("app");
const scene = scenes[new URLSearchParams(location.search).get("scene") ?? ""];

if (target && scene) {
  const bridge = new StagedBridge(scene);
  mount(App, { target, props: { bridge } });
  Object.assign(window, { bridge });
} else if (target) {
  document.body.style.overflow = "auto";
  for (const name of Object.keys(scenes)) {
    const link = document.createElement("a");
    link.href = `?scene=${name}`;
    link.textContent = name;
    link.style.cssText = "display: block; padding: 0.25rem 1.5rem";
    target.append(link);
  }
}
