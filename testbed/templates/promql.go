// Reads PromQL queries (a JSON list of strings) and writes what Prometheus' own parser makes of each.
package main

import (
	"encoding/json"
	"os"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

type matcher struct {
	Name  string `json:"name"`
	Op    string `json:"op"`
	Value string `json:"value"`
}

type selector struct {
	Metric   string    `json:"metric"`
	Matchers []matcher `json:"matchers"`
	// Labels that an aggregation around it keeps or drops.
	Grouping []string `json:"grouping"`
}

type answer struct {
	Error     string     `json:"error"`
	Type      string     `json:"type"`
	Selectors []selector `json:"selectors"`
}

func main() {
	var queries []string
	if err := json.NewDecoder(os.Stdin).Decode(&queries); err != nil {
		panic(err)
	}
	answers := make([]answer, 0, len(queries))
	for _, query := range queries {
		answers = append(answers, explain(query))
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		panic(err)
	}
}

func explain(query string) answer {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		return answer{Error: err.Error(), Selectors: []selector{}}
	}
	found := answer{Type: string(expr.Type()), Selectors: []selector{}}
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		vector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		one := selector{Metric: vector.Name, Matchers: []matcher{}, Grouping: []string{}}
		for _, m := range vector.LabelMatchers {
			if m.Name != labels.MetricName {
				one.Matchers = append(one.Matchers, matcher{m.Name, m.Type.String(), m.Value})
			}
		}
		for _, outer := range path {
			if aggregation, ok := outer.(*parser.AggregateExpr); ok {
				one.Grouping = append(one.Grouping, aggregation.Grouping...)
			}
		}
		found.Selectors = append(found.Selectors, one)
		return nil
	})
	return found
}
