import { z } from 'zod';
import { sqlText, type Duck } from '../duckdb.ts';

/** What a row's own values can be combined with: no query, no aggregate, no window, nothing that makes several columns. */
const ALLOWED = new Set([
  ...['BETWEEN', 'CASE', 'CAST', 'COLLATE', 'COLUMN_REF', 'COMPARISON', 'CONJUNCTION', 'CONSTANT', 'FUNCTION'],
  ...['LAMBDA', 'LAMBDA_REF', 'OPERATOR'],
]);
/** The macros that DuckDB has instead of plain functions; of the others some aggregate and some depend on the session. */
const PURE_MACROS =
  /^(list_\w+|array_\w+|map_contains_\w+|md5_number_\w+|nullif|split_part|date_add|fmod|fdiv|roundbankers|round_even|days_in_month)$/;
/** DuckDB calls them consistent, but they read the clock, the session or how a column is stored. */
const IMPURE = new Set([
  ...['age', 'current_localtime', 'current_localtimestamp'],
  ...['current_setting', 'getvariable', 'version', 'vector_type'],
]);

/** An expression that can not be used; the message says why. */
export class ExpressionError extends Error {}

/**
 * Checks that `expression` is one SQL expression over the columns of `table` whose value depends on its row alone: the same
 * rows always give the same slices, and nothing else can be read or written.
 *
 * @throws ExpressionError with DuckDB's words, or with what is not allowed.
 */
export async function checkExpression(
  duck: Duck,
  { expression, table, columns }: { expression: string; table: string; columns: ReadonlySet<string> },
): Promise<void> {
  const nodes = expressionsOf(await parse(duck, selectOf(expression, table)));
  for (const node of nodes) {
    if (!ALLOWED.has(node.class)) throw notAllowed(node.class.toLowerCase().replaceAll('_', ' '));
  }
  // `current_date` is written like a column, and a parameter of that name would hide it.
  const parameters = new Set(nodes.filter((node) => node.class === 'LAMBDA').flatMap(parametersOf));
  const calls = nodes.flatMap(({ function_name: name }) => (name === undefined ? [] : [name]));
  const named = [...calls, ...parameters].map((name) => name.toLowerCase());
  const pure = await pureFunctions(duck, named);
  const refused = named.find((name) => pure.get(name) === false);
  if (refused !== undefined) throw notAllowed(`the function ${refused}`);
  await duck.describe(selectOf(expression, table)).catch((error: unknown) => {
    throw new ExpressionError(wordsOf(error));
  });
  for (const { column_names: [name] = [] } of nodes) {
    const known = name === undefined || columns.has(name.toLowerCase()) || parameters.has(name) || name === table;
    if (!known) throw notAllowed(name);
  }
}

/** The line break ends a comment, so that no expression can swallow what follows it. */
export function selectOf(expression: string, table: string): string {
  return `SELECT (${expression}\n) AS v FROM ${table}`;
}

/** The first line of what DuckDB says; the others show where in a query of ours. */
export function wordsOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return short(message.split('\n')[0] ?? message);
}

/** For messages, which are carried far. */
export function short(text: string): string {
  const trimmed = text.trim();
  return trimmed.length <= 200 ? trimmed : `${trimmed.slice(0, 200)}...`;
}

const notAllowed = (what: string): ExpressionError =>
  new ExpressionError(
    `${what} is not allowed: expected an expression over the columns of one row, without queries, aggregates, windows or values that change from run to run`,
  );

const expressionNode = z.object({
  class: z.string(),
  function_name: z.string().optional(),
  column_names: z.array(z.string()).optional(),
  lhs: z.unknown().optional(),
});
type ExpressionNode = z.infer<typeof expressionNode>;

const parsed = z.union([
  z.object({ error: z.literal(true), error_message: z.string() }),
  z.object({
    error: z.literal(false),
    statements: z.array(
      z.object({
        node: z.looseObject({
          type: z.string(),
          select_list: z.array(z.unknown()).optional(),
          from_table: z.looseObject({ type: z.string(), table_name: z.string().optional() }).optional(),
        }),
      }),
    ),
  }),
]);

/** The parts of the query that are not empty where there is more than `SELECT x FROM table`. */
const CLAUSES = ['where_clause', 'group_expressions', 'having', 'sample', 'qualify', 'modifiers', 'cte_map'];

/** The parse tree of the only selected expression. */
async function parse(duck: Duck, select: string): Promise<unknown> {
  const { tree } = await duck.row(
    `SELECT json_serialize_sql(${sqlText(select)}) AS tree`,
    z.object({ tree: z.string() }),
  );
  const found = parsed.parse(JSON.parse(tree));
  if (found.error) throw new ExpressionError(found.error_message);
  const [statement, ...others] = found.statements;
  const [expression, ...further] = statement?.node.select_list ?? [];
  const plain =
    statement?.node.type === 'SELECT_NODE' &&
    statement.node.from_table?.type === 'BASE_TABLE' &&
    CLAUSES.every((clause) => isEmpty(statement.node[clause]));
  if (!plain || expression === undefined || others.length + further.length > 0)
    throw notAllowed('more than one expression');
  return expression;
}

const isEmpty = (value: unknown): boolean =>
  value == null || (typeof value === 'object' && Object.values(value).every((inner) => isEmpty(inner)));

/** All nodes of the tree that are expressions. */
function expressionsOf(tree: unknown): ExpressionNode[] {
  if (typeof tree !== 'object' || tree === null) return [];
  const inner = Object.values(tree).flatMap(expressionsOf);
  return 'class' in tree ? [expressionNode.parse(tree), ...inner] : inner;
}

const parametersOf = ({ lhs }: ExpressionNode): string[] =>
  expressionsOf(lhs).flatMap(({ column_names: names = [] }) => names);

/** Whether a function only computes, and the same each time, by name; those that DuckDB does not have are left to it. */
async function pureFunctions(duck: Duck, names: readonly string[]): Promise<Map<string, boolean>> {
  const found = await duck.rows(
    `SELECT lower(function_name) AS name, bool_and(
       (function_type = 'scalar' AND stability = 'CONSISTENT') OR (function_type = 'macro' AND schema_name = 'main')) AS pure,
       bool_or(function_type = 'macro') AS macro
     FROM duckdb_functions() WHERE lower(function_name) IN (${['', ...names].map(sqlText).join(', ')}) GROUP BY 1`,
    z.object({ name: z.string(), pure: z.boolean(), macro: z.boolean() }),
  );
  return new Map(
    found.map(({ name, pure, macro }) => [name, pure && !IMPURE.has(name) && (!macro || PURE_MACROS.test(name))]),
  );
}
