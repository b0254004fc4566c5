print("armada-agent")
