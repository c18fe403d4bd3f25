import { Html } from './html.ts';

export const STYLE = new Html(`<style>
:root { color-scheme: light; --line: #dfe3e8; --dim: #6b7280; }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: #1b2430; background: #f6f7f9; }
main { max-width: 1040px; margin: 0 auto; padding: 28px 24px 64px; background: #fff; }
h1 { font-size: 26px; margin: 0 0 6px; display: flex; gap: 14px; align-items: center; }
h2 { font-size: 18px; margin: 36px 0 8px; padding-top: 12px; border-top: 1px solid var(--line); }
h3 { font: 600 14px/1.4 ui-monospace, monospace; margin: 0 0 4px; }
p { margin: 4px 0 8px; max-width: 80ch; }
code { font: 13px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
.dim { color: var(--dim); }
.why { border-left: 4px solid #c1272d; padding: 6px 12px; background: #fdf1f1; max-width: none; }
.badge { display: inline-block; padding: 1px 9px; border-radius: 10px; font: 600 12px/1.7 system-ui, sans-serif; white-space: nowrap; background: #e8ebef; color: #39424e; }
h1 .badge { font-size: 16px; padding: 3px 14px; border-radius: 14px; }
.badge.pass { background: #dff3e4; color: #17633a; }
.badge.block { background: #c1272d; color: #fff; }
.badge.warn { background: #fdecc8; color: #7a4b00; }
.badge.silenced { background: #eadcf7; color: #57268a; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 4px 24px; margin: 16px 0; }
.facts div { display: flex; gap: 10px; }
dt { color: var(--dim); flex: 0 0 105px; }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
.checks td, .checks th { text-align: left; vertical-align: top; padding: 6px 10px 6px 0; border-bottom: 1px solid var(--line); }
.checks th { color: var(--dim); font-weight: 500; }
.checks td:nth-child(2) { white-space: nowrap; }
.numbers { width: auto; font-size: 13px; }
.numbers td { padding: 1px 18px 1px 0; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
details { font-size: 13px; }
summary { color: var(--dim); cursor: pointer; }
svg { max-width: 100%; height: auto; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 28px 24px; }
@media (max-width: 520px) { .columns { grid-template-columns: 1fr; } }
</style>`);
