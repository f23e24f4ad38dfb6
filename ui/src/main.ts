// Puts the window's content on the page, connected to the real engine.

import { mount } from "svelte";
import "./app.css";
import App from "./App.svelte";
import { tauri } from "./bridge";

const target = document.getElementById("app");
if (target) {
  mount(App, { target, props: { bridge: tauri } });
}
