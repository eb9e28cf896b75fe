"""Protocols as thin views of one function. Each has a router, its paths and the shape of its refusals.

::

    native       ours: everything that is known of an answer
    tei          Text Embeddings Inference, and the Hugging Face task at ``/``
    vllm         vLLM
    oip          Open Inference Protocol v2, with tensors as bytes
    sagemaker    Amazon SageMaker
    tensors      tensors as bytes behind the JSON
    answers      what several protocols say of the same answers
    reading      how bodies are read: one way for all
    documents    the OpenAPI document
"""
