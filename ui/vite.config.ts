import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

// Builds index.html alone, so nothing of gallery/ can reach the bundle.
export default defineConfig(({ mode }) => ({
  base: "./",
  clearScreen: false,
  plugins: [svelte({ configFile: false })],
  // Tests mount components, which needs Svelte's browser build.
  resolve: mode === "test" ? { conditions: ["browser"] } : {},
  server: { port: 1420, strictPort: true, host: "127.0.0.1" },
  build: {
    outDir: "dist",
    emptyOutDir: true,
    target: "safari16",
    // A small file stays a file: the content policy allows data: for pictures only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  test: {
    environment: "jsdom",
    include: ["src/**/*.test.ts"],
    setupFiles: ["gallery/jsdom-gaps.ts"],
  },
}));
