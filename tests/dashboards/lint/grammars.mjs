// Reads [{"language": "logql" | "traceql", "text": "..."}] from standard input and answers, for each, where its syntax is wrong:
// [[offset, ...], ...]. The grammars are those Grafana's own query editors use.
import { readFileSync } from 'node:fs';
import { parser as logql } from '@grafana/lezer-logql';
import { parser as traceql } from '@grafana/lezer-traceql';

const parsers = { logql, traceql };

function errors({ language, text }) {
  const at = [];
  parsers[language].parse(text).iterate({
    enter: (node) => {
      if (node.type.isError) at.push(node.from);
    },
  });
  return at;
}

console.log(JSON.stringify(JSON.parse(readFileSync(0, 'utf8')).map(errors)));
