import { Html } from '../report/html.ts';
import { PLOT_STYLE } from './plots/svg.ts';

/** Light, dark and print. */
export const PAGE_STYLE = new Html(`<style>
:root { color-scheme: light dark; --text: #1b2430; --soft: #5b6470; --rule: #dfe3e8; --page: #f6f7f9; --sheet: #fff; --link: #175f8e;
  --good: #17633a; --good-bg: #e6f5ea; --bad: #a11d23; --bad-bg: #fdf0f0; --warn: #7a4b00; --warn-bg: #fdf4e1; --quiet-bg: #f0f2f5; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ee; --soft: #9aa5b1; --rule: #333c47; --page: #0d1117; --sheet: #161b22; --link: #79c0ff;
  --good: #7ee2a0; --good-bg: #12301d; --bad: #ff9b94; --bad-bg: #3a1618; --warn: #f0c36d; --warn-bg: #33280f; --quiet-bg: #212832; } }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; color: var(--text); background: var(--page); }
main { max-width: 960px; margin: 0 auto; padding: 28px 28px 64px; background: var(--sheet); }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 12px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 40px 0 10px; padding-top: 14px; border-top: 1px solid var(--rule); }
p { margin: 6px 0 10px; max-width: 85ch; overflow-wrap: anywhere; }
a { color: var(--link); }
code { font: 13px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { padding: 10px 14px; background: var(--quiet-bg); border-radius: 6px; overflow-x: auto; }
ul { padding-left: 20px; max-width: 85ch; }
li { margin: 4px 0; overflow-wrap: anywhere; }
.badge { display: inline-block; padding: 2px 12px; border-radius: 12px; font: 600 14px/1.6 system-ui, sans-serif; vertical-align: middle; white-space: nowrap; background: var(--quiet-bg); color: var(--soft); }
.callout { border-left: 4px solid var(--rule); padding: 7px 12px; background: var(--quiet-bg); max-width: none; border-radius: 0 4px 4px 0; }
.badge.good, .callout.good { color: var(--good); background: var(--good-bg); }
.badge.bad, .callout.bad { color: var(--bad); background: var(--bad-bg); }
.badge.warn, .callout.warn { color: var(--warn); background: var(--warn-bg); }
.callout.good { border-color: var(--good); } .callout.bad { border-color: var(--bad); } .callout.warn { border-color: var(--warn); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 360px), 1fr)); gap: 3px 28px; margin: 14px 0; }
.facts div { display: flex; gap: 10px; }
dt { color: var(--soft); flex: 0 0 108px; }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 18px 0 0; font-size: 14px; }
figure { margin: 18px 0 22px; }
figcaption { color: var(--soft); font-size: 13px; max-width: 95ch; margin-top: 4px; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: 10px 0 16px; }
svg { display: block; width: 760px; max-width: 100%; min-width: 600px; height: auto; }
table { border-collapse: collapse; font-size: 13.5px; min-width: 560px; }
caption { text-align: left; color: var(--soft); padding-bottom: 4px; }
th, td { text-align: left; vertical-align: top; padding: 4px 18px 4px 0; border-bottom: 1px solid var(--rule); min-width: 60px; }
thead th { color: var(--soft); font-weight: 500; vertical-align: bottom; }
tbody th { font-weight: 500; min-width: 96px; }
th code { white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
details { margin: 10px 0; }
summary { cursor: pointer; color: var(--link); }
@media (max-width: 560px) { main { padding: 18px 14px 48px; } h1 { font-size: 22px; } .facts div { flex-direction: column; gap: 0; } .facts { gap: 8px 28px; } dt { flex: none; } }
@media print { body, main { background: #fff; color: #000; } main { max-width: none; padding: 0; } nav { display: none; } .wide { overflow: visible; }
  svg { min-width: 0; } figure, tr, .callout { break-inside: avoid; } h2 { break-after: avoid; } }
${PLOT_STYLE}
</style>`);
