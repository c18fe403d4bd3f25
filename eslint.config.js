import boundaries from 'eslint-plugin-boundaries';
import temporal from 'eslint-plugin-temporal';
import tseslint from 'typescript-eslint';

const FOLDERS = [
  'activities',
  'bench',
  'config',
  'data',
  'features',
  'integrations',
  'policy',
  'scoring',
  'scripts',
  'serving',
  'simulator',
  'store',
  'test',
  'workers',
  'workflows',
];
const BASE = ['config', 'policy', 'features', 'scoring', 'store', 'integrations', 'data'];

/** Imports point one way: what each folder may import besides itself. The entry points and tests may import all. */
const MAY_IMPORT = {
  config: [],
  policy: ['config'],
  features: ['config'],
  scoring: ['config', 'features'],
  store: ['config', 'policy', 'features'],
  integrations: ['config', 'policy', 'store'],
  data: ['config', 'policy', 'features', 'scoring', 'store'],
  simulator: ['config', 'features'],
  activities: BASE,
  serving: BASE,
  workflows: ['config', 'policy'],
  workers: FOLDERS.filter((folder) => !['scripts', 'test', 'bench'].includes(folder)),
  scripts: FOLDERS.filter((folder) => folder !== 'test'),
  bench: FOLDERS,
  test: FOLDERS,
};

/** @param {string[]} types */
const to = (types) => ({ to: { element: { types: { anyOf: types } } } });

/** The plugin's errors, which are about determinism; its warnings guess by names and argue about taste. */
const certainRules = ({ rules }) => ({
  ...Object.fromEntries(Object.entries(rules).filter(([, severity]) => severity === 'error')),
  // Takes every call for a promise; typescript-eslint's rule of this name knows the types.
  'temporal/workflow-no-floating-promises': 'off',
});

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', '.freshet/', 'coverage/', 'trainer/'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'max-lines': ['error', 400],
      'no-console': 'error',
    },
  },
  { files: ['scripts/**', 'test/**', 'bench/**'], rules: { 'no-console': 'off' } },
  {
    files: FOLDERS.map((folder) => `${folder}/**/*.ts`),
    plugins: { boundaries },
    settings: {
      'boundaries/elements': FOLDERS.map((type) => ({ type, pattern: type, partialMatch: false })),
      'import/resolver': { typescript: { project: './tsconfig.json' } },
    },
    rules: {
      'boundaries/dependencies': [
        'error',
        {
          default: 'disallow',
          message:
            '{{from.element.type}} must not import {{to.element.type}}: imports point one way (docs/architecture.md)',
          policies: [
            ...Object.entries(MAY_IMPORT).map(([type, others]) => ({
              from: { element: { type } },
              allow: to([type, ...others]),
            })),
            // Types vanish when the workflow is bundled, so no activity code gets into it.
            {
              from: { element: { type: 'workflows' } },
              allow: { ...to(['activities']), dependency: { kind: 'type' } },
            },
            { allow: { to: { module: { origin: ['external', 'core'] } } } },
          ],
        },
      ],
      'boundaries/no-unknown-dependencies': 'error',
    },
  },
  {
    // What serves a line is asked through its port, so that it can be another server.
    files: ['activities/**/*.ts', 'data/**/*.ts', 'scripts/**/*.ts', 'workers/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              group: ['**/store/processes.ts'],
              message: 'Gateways are asked through ServingTarget (integrations/serving-target.ts).',
            },
          ],
        },
      ],
    },
  },
  { files: ['workflows/**/*.ts'], plugins: { temporal }, rules: certainRules(temporal.configs.workflow) },
  { files: ['activities/**/*.ts'], plugins: { temporal }, rules: certainRules(temporal.configs.activity) },
  { files: ['workers/**/*.ts'], plugins: { temporal }, rules: certainRules(temporal.configs.worker) },
);
