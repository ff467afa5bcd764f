"""The ``config.json`` of the built-in models, as their publishers give it on Hugging Face.

Fields that do not describe structure (tokens, dropout, data types) are left out.  The
repositories:

================== ========================================
bitnet-2b-4t       microsoft/bitnet-b1.58-2B-4T
bitnet-3b          1bitLLM/bitnet_b1_58-3B
gemma2-2b, -9b     google/gemma-2-2b, google/gemma-2-9b
gemma3-270m, -1b   google/gemma-3-270m, google/gemma-3-1b-pt
gpt2, gpt2-medium  openai-community/gpt2, gpt2-medium
llama2-7b to -70b  meta-llama/Llama-2-7b-hf and so on
llama3-8b, -70b    meta-llama/Meta-Llama-3-8B, -70B
llama3.1-8b        meta-llama/Llama-3.1-8B
llama3.2-1b        meta-llama/Llama-3.2-1B
mistral-7b         mistralai/Mistral-7B-v0.1
mixtral-8x7b       mistralai/Mixtral-8x7B-v0.1
opt-1.3b, -6.7b    facebook/opt-1.3b, facebook/opt-6.7b
phi-2              microsoft/phi-2
phi-3-mini         microsoft/Phi-3-mini-4k-instruct
qwen1.5-moe-a2.7b  Qwen/Qwen1.5-MoE-A2.7B
qwen2-7b           Qwen/Qwen2-7B (the structure of Qwen2.5-7B too)
qwen2-57b-a14b     Qwen/Qwen2-57B-A14B
qwen3-8b, -30b-a3b Qwen/Qwen3-8B, Qwen/Qwen3-30B-A3B
yi-6b              01-ai/Yi-6B
================== ========================================

``tests/test_models.py`` compares the parameters of each with the published checkpoint's.
"""
