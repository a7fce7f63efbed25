"""The curves and results in other tools: TensorBoard, MLflow."""
