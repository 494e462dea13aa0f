// The go-openai library, which places vectors by their index and asks for numbers.
package main

import (
	"context"

	"github.com/sashabaranov/go-openai"
)

func main() {
	config := openai.DefaultConfig(key)
	config.BaseURL = url + "/v1"
	client := openai.NewClientWithConfig(config)
	embed := func(texts []string) ([][]float32, error) {
		answer, err := client.CreateEmbeddings(context.Background(), openai.EmbeddingRequest{Input: texts, Model: openai.EmbeddingModel(model)})
		if err != nil {
			return nil, err
		}
		found := make([][]float32, len(answer.Data))
		for _, item := range answer.Data {
			found[item.Index] = item.Embedding
		}
		return found, nil
	}
	for name, texts := range map[string][]string{"text": {one}, "list": several, "many": many()} {
		got, err := embed(texts)
		vectors(name, texts, got, err)
	}
	_, err := embed([]string{"fine", ""})
	refusal("empty text", err)
}
