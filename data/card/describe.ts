import type { CardLinks, VersionCard } from './card.ts';
import { dataSection, parentsSection } from './data-section.ts';
import type { CardDocument } from './document.ts';
import { figuresSection, gateSection } from './figures-section.ts';
import { lifeSection } from './life-section.ts';
import { limitsSection, useSection } from './limits-section.ts';
import { makingSection } from './making-section.ts';
import { slicesSection } from './slices-section.ts';
import { badge, summary } from './summary.ts';

/**
 * A model card after Mitchell et al., "Model Cards for Model Reporting" (2019), in the order in which operators ask: does it
 * serve and why, how good is it and for whom, on which data, how was it made, what is not known.
 */
export function describeCard(card: VersionCard, links: CardLinks = {}): CardDocument {
  const { line, version } = card.version;
  const [figures = null, ...moreFigures] = figuresSection(card);
  return {
    title: `${line}, version ${String(version)}`,
    badge: badge(card),
    summary: summary(card, links),
    sections: [
      ...gateSection(card),
      ...(figures === null ? [] : [figures]),
      ...slicesSection(card),
      ...moreFigures,
      ...limitsSection(card),
      ...useSection(card),
      ...dataSection(card, links),
      ...parentsSection(card, links),
      ...makingSection(card),
      ...lifeSection(card),
    ],
  };
}
